import pytest

from bearerd import BearerdError, Token
from bearerd._http import Exchange, Nonces, check_secure, origin, wants_nonce

HOME = origin("https", "api.example", None)
INVALID = ['DPoP error="invalid_token"']
NONCE = ['DPoP error="use_dpop_nonce", error_description="again"']


LOOPBACK = ["localhost", "127.0.0.1", "127.9.9.9", "::1", "LOCALHOST"]
NOT_LOOPBACK = ["a.example", "localhost.a.example", "127.0.0.1.a.example", "10.0.0.1", "", "127.1", "0.0.0.0"]


@pytest.mark.parametrize("scheme_and_host", [("https", "a.example"), *(("http", host) for host in LOOPBACK)])
def test_secure(scheme_and_host):
    check_secure(origin(*scheme_and_host, None), allow_http=False)


@pytest.mark.parametrize("host", [*NOT_LOOPBACK, "::2", "::ffff:10.0.0.1"])
def test_insecure(host):
    with pytest.raises(BearerdError) as caught:
        check_secure(origin("http", host, None), allow_http=False)
    assert caught.value.reason == "URL_INSECURE"
    check_secure(origin("http", host, None), allow_http=True)


def test_other_schemes_are_refused_even_so():
    with pytest.raises(BearerdError):
        check_secure(origin("ftp", "localhost", None), allow_http=True)


def test_origin_has_the_port_of_its_scheme():
    assert origin("HTTPS", "A.example", None) == origin("https", "a.example", 443)
    assert origin("http", "a.example", 443) != origin("https", "a.example", 443)


AMONG_OTHERS = 'Basic realm="x", DPoP algs="ES256", error="use_dpop_nonce"'


@pytest.mark.parametrize("challenge", [*NONCE, "DPoP error=use_dpop_nonce", AMONG_OTHERS])
def test_nonce_wanted(challenge):
    assert wants_nonce([challenge])


@pytest.mark.parametrize("challenge", [*INVALID, 'Bearer error="use_dpop_nonce"', "", 'DPoP error="other_nonce"'])
def test_nonce_not_wanted(challenge):
    assert not wants_nonce([challenge])


def test_a_401_leads_to_one_report():
    exchange = Exchange(HOME)
    assert [exchange.remedy("GET", "u", INVALID) for _ in range(3)] == ["replace", None, None]


def test_without_a_proof_a_challenge_for_a_nonce_is_a_401_like_others():
    assert Exchange(HOME).remedy("GET", "u", NONCE) == "replace"


def test_a_nonce_is_given_once_and_is_no_report():
    exchange = Exchange(HOME, signed=("GET", "u"))
    assert [exchange.remedy("GET", "u", NONCE) for _ in range(3)] == ["sign", None, None]
    assert exchange.remedy("GET", "u", INVALID) == "replace"


def test_after_a_redirect_the_proof_is_made_again_before_the_token_is_blamed():
    exchange = Exchange(HOME, signed=("POST", "u"))
    assert [exchange.remedy("GET", "v", INVALID) for _ in range(3)] == ["sign", "replace", None]


def test_headers_of_the_origin_are_remembered_across_tokens():
    from bearerd import RequestHeader

    def token(name):
        return Token("c", "i", "s", "Bearer s", "Bearer", 0, 1, "", (RequestHeader(name, "v", False, ""),), False)

    exchange = Exchange(HOME)
    assert exchange.with_token(token("X-Old"), {}) == {"Authorization": "Bearer s", "X-Old": "v"}
    exchange.with_token(token("X-New"), {})
    assert exchange.private == {"authorization", "dpop", "x-old", "x-new"}


def test_newest_nonce_of_each_origin():
    nonces = Nonces()
    for where, nonce in [(HOME, "1"), (HOME, "2"), (HOME, None), (origin("https", "b.example", None), "3")]:
        nonces.note(where, nonce)
    assert nonces.of(HOME) == "2"
    assert nonces.of(origin("https", "c.example", None)) == ""
