import pytest

from bearerd import BearerdError, RequestHeader, Token, _headers

REQUESTOR = RequestHeader("Requestor-ID", "", True, "[0-9]{1,20}")
PARTNER = RequestHeader("X-Partner", "acme", False, "")


def token(*headers):
    return Token("wawex", "id", "secret", "Bearer secret", "Bearer", 0, 1, "", headers, False)


def reason(headers, given):
    with pytest.raises(BearerdError) as caught:
        _headers.complete(token(*headers), given)
    assert "secret" not in str(caught.value)
    return caught.value.reason


def test_fixed_headers_and_given_ones():
    given = {"requestor-id": "4711", "Accept": "text/plain"}
    assert _headers.complete(token(REQUESTOR, PARTNER), given) == {**given, "X-Partner": "acme"}


def test_given_headers_replace_neither_authorization_nor_fixed_ones():
    given = {"x-partner": "evil", "AUTHORIZATION": "evil", "dpop": "evil"}
    assert _headers.complete(token(PARTNER), given) == {"X-Partner": "acme"}


def test_missing():
    assert reason([REQUESTOR], {"Accept": "4711"}) == "HEADER_MISSING"


# A dollar sign in a pattern matches before a line ending: the value must still be refused.
@pytest.mark.parametrize("value", ["", " ", "47a", "4711\n", "4711 ", "1" * 21, "٤٧", "4711\r\nX: y", "4711\x7f"])
def test_invalid(value):
    assert reason([REQUESTOR], {"Requestor-ID": value}) == "HEADER_INVALID"


@pytest.mark.parametrize("value", ["a\nb", "\x00", "\t", "a\x1fb"])
def test_control_characters_are_refused_without_a_pattern(value):
    assert reason([RequestHeader("X-Any", "", True, "")], {"X-Any": value}) == "HEADER_INVALID"


def test_pattern_that_python_does_not_understand_fails_closed():
    assert reason([RequestHeader("X-Any", "", True, r"\p{L}[")], {"X-Any": "a"}) == "HEADER_INVALID"


def test_alternatives_must_match_as_a_whole():
    assert reason([RequestHeader("X-Any", "", True, "a|ab")], {"X-Any": "abc"}) == "HEADER_INVALID"
    assert _headers.complete(token(RequestHeader("X-Any", "", True, "a|ab")), {"X-Any": "ab"})
