import os
import pickle
import time

import pytest

from bearerd import BearerdError, _socket
from bearerd._backoff import LONGEST, LONGEST_REFUSED, Backoff
from bearerd._errors import Failure


def test_backoff_doubles_to_its_bound_and_begins_anew():
    backoff = Backoff(lambda: 1.0)
    waits = [backoff.next(LONGEST) for _ in range(8)]
    assert waits == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2])
    assert [backoff.next(LONGEST_REFUSED) for _ in range(5)] == pytest.approx([4, 8, 16, 30, 30])
    backoff.reset()
    assert backoff.next(LONGEST) == pytest.approx(0.05)


def test_backoff_has_full_jitter():
    backoff = Backoff(lambda: 0.0)
    assert [backoff.next(LONGEST) for _ in range(3)] == [0, 0, 0]


def test_error_can_be_pickled_and_names_its_reason():
    error = pickle.loads(pickle.dumps(BearerdError("text", reason="R", code="NOT_FOUND", retry_after=1.5)))
    assert (error.message, error.reason, error.code, error.retry_after) == ("text", "R", "NOT_FOUND", 1.5)
    assert str(error) == "text [R]"


def test_retry_after_is_counted_when_the_error_is_raised():
    failure = Failure("ISSUER_BUSY", "UNAVAILABLE", "text", time.time() + 60)
    assert 59 < failure.error().retry_after <= 60
    assert Failure("ISSUER_BUSY", "UNAVAILABLE", "text", time.time() - 60).error().retry_after == 0
    assert Failure("CLOSED", "CANCELLED", "text").error().retry_after is None
    assert failure.error() is not failure.error()


class TestSocket:
    @pytest.fixture
    def places(self, tmp_path):
        """The system's place, and what the environment is with a user's runtime directory and home."""
        return str(tmp_path / "system.sock"), {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "HOME": str(tmp_path / "home")}

    def make(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "w").close()

    def test_named_by_the_variable(self, places):
        system, environment = places
        self.make(system)
        assert _socket.find({**environment, "BEARERD_SOCKET": "/x"}, system) == "/x"

    def test_system_before_the_users(self, places):
        system, environment = places
        self.make(system)
        self.make(os.path.join(environment["XDG_RUNTIME_DIR"], "bearerd/bearerd.sock"))
        assert _socket.find(environment, system) == system

    def test_users_if_there_is_no_other(self, places):
        system, environment = places
        own = os.path.join(environment["XDG_RUNTIME_DIR"], "bearerd/bearerd.sock")
        self.make(own)
        assert _socket.find(environment, system) == own

    def test_home_only_without_an_absolute_runtime_directory(self, places):
        system, environment = places
        own = os.path.join(environment["HOME"], ".bearerd/bearerd/bearerd.sock")
        self.make(own)
        assert _socket.find(environment, system) == system
        assert _socket.find({**environment, "XDG_RUNTIME_DIR": "run"}, system) == own
        assert _socket.find({"HOME": environment["HOME"]}, system) == own
        assert _socket.find({"HOME": "home"}, system) == system

    def test_system_if_there_is_none(self, places):
        system, environment = places
        assert _socket.find(environment, system) == system

    def test_what_means_something_in_a_uri_is_quoted(self):
        assert _socket.target("/a b/%41/#?.sock") == "unix:/a%20b/%2541/%23%3F.sock"
