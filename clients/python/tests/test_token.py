import pickle
import pprint
import time

import pytest

from bearerd import Proof, Rejection, Replacement, RequestHeader, Token


def token(issued_at=0.0, expires_at=3600.0, headers=()):
    return Token("demo", "id-1", "secret", "Bearer secret", "Bearer", issued_at, expires_at, "", headers, False)


@pytest.mark.parametrize(("lifetime", "margin"), [(3600, 30), (300, 30), (299, 29.9), (30, 3), (0, 0)])
def test_margin_is_a_tenth_of_the_life_and_at_most_30_seconds(lifetime, margin):
    assert token(1000, 1000 + lifetime).usable_until == pytest.approx(1000 + lifetime - margin)


def test_token_issued_after_its_end_is_never_usable_for_longer_than_that():
    assert token(2000, 1000).usable_until == 1000


@pytest.mark.parametrize(
    ("left", "min_validity", "usable"),
    [(31, 0, True), (29, 0, False), (100, 99, True), (100, 101, False), (31, 5, True), (29, 5, False), (-1, 0, False)],
)
def test_usable_while_valid_for_the_margin_and_for_what_was_asked(monkeypatch, left, min_validity, usable):
    now = 1_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    assert token(now + left - 3600, now + left).usable(min_validity) is usable


def test_text_forms_show_no_secret():
    shown = token(headers=(RequestHeader("X-Key", "secret-key", False, ""),))
    values = [shown, Proof(shown, "secret-proof"), Replacement(shown, Rejection.REPLACED)]
    forms = [form(value) for form in (repr, str, format, pprint.pformat) for value in [*values, values]]
    assert "id-1" in forms[0]
    assert not [form for form in forms if "secret" in form]


def test_token_survives_pickling():
    assert pickle.loads(pickle.dumps(token())) == token()


def test_rejection_of_a_later_daemon_is_unspecified():
    assert Rejection(77) is Rejection.UNSPECIFIED
