"""What a scenario is played on: an issuer, a partner, a daemon and a driver, and how to say what was expected."""

import contextlib
import json
import time

from daemon import Daemon
from driver import Driver, Failure
from issuer import Issuer
from partner import Partner
from support.waiting import PATIENCE, until

# As configured at the partners of ../api-docs.
CLIENTS = {
    "paysway": {},
    "wawex": {
        "request_headers": {
            "Requestor-ID": {"per_call": True, "pattern": "[0-9]{1,20}"},
            "X-Partner": {"value": "acme"},
        }
    },
}
# A token that is younger is not replaced, however often it is reported.
YOUNG = 5.0


# How a stage is set. `start`: the daemon runs; `opened`: the driver has opened a broker; `clients`, `limits`: settings
# of the daemon; `accounts`: of the clients at the issuer.
USUAL = {"start": True, "opened": True, "clients": CLIENTS, "accounts": {}, "limits": {}}


def staged(**how):
    """Says how a scenario's stage differs from the usual one."""

    def mark(function):
        function.how = USUAL | how
        return function

    return mark


class Stage:
    """See the module. A command to the driver is a method: `stage.request(…)`."""

    def __init__(self, column, driver, *, start, opened, clients, accounts, limits):
        self.column, self.driver, self.drivers = column, driver, []
        self.began = len(driver.said()) if driver else 0
        self.issuer = Issuer()
        for name, settings in accounts.items():
            self.issuer.account(name, **settings)
        self.partners = [Partner(self.issuer)]
        self.daemon = Daemon(self.issuer, column.uid, {**clients}, limits)
        self.starts, self.opens = start, opened

    def set(self):
        """Gets ready for the scenario."""
        if self.starts:
            self.daemon.start()
        if self.column.kind == "stock":
            self.another_driver()
        elif self.opens:
            self.open()

    @property
    def shared(self):
        """Whether the driver is not of this stage alone."""
        return self.driver not in self.drivers

    @property
    def partner(self):
        return self.partners[0]

    def another_partner(self):
        self.partners.append(Partner(self.issuer))
        return self.partners[-1]

    def another_driver(self, **environment):
        """A driver of the stage's own, for what cannot be done to one that others use as well."""
        words = [str(self.daemon.socket)] if self.column.kind == "stock" else []
        self.driver = Driver(self.column, words, **environment)
        self.drivers.append(self.driver)
        return self.driver

    # Commands of library drivers

    def open(self, socket="", allow_http=False):
        """Opens a broker of a library; on the daemon's socket, unless another or none is given."""
        path = str(self.daemon.socket) if socket == "" else socket
        self.done("open", socket=path, allow_http=allow_http)

    def done(self, do, within=PATIENCE, **fields):
        """The answer to a command that must succeed."""
        answer = self.driver.ask(do, within, **fields)
        expect(answer["ok"], f"{shown(do, fields)} succeeds", answer)
        return answer

    def refused(self, reason, do, code=None, within=PATIENCE, **fields):
        """The answer to a command that must fail for this reason."""
        answer = self.driver.ask(do, within, **fields)
        return self.is_refusal(answer, reason, code, shown(do, fields))

    @staticmethod
    def is_refusal(answer, reason, code=None, what="the command"):
        expect(not answer["ok"] and answer.get("reason") == reason, f"{what} fails with {reason}", answer)
        if code is not None:
            expect(answer.get("code") == code, f"{what} fails with code {code}", answer)
        expect(answer.get("message"), f"{what} fails with a message", answer)
        return answer

    def token(self, client="paysway", within=PATIENCE, **fields):
        """A token, which must be complete and valid."""
        answer = self.done("token", within, client=client, **wishes(fields))
        return self.is_token(answer["token"], client) | {"took": answer["took"]}

    def is_token(self, token, client):
        expect(token["expires_at"] > time.time(), "the token has not expired", token)
        expect(token["access_token"] in self.issuer.tokens, "the issuer knows the token", token)
        whose = self.issuer.tokens[token["access_token"]].client
        equal(whose, client, "whose token it is")
        kind = "DPoP" if self.issuer.accounts[client].dpop else "Bearer"
        equal(token["authorization"], f"{kind} {token['access_token']}", "the value of Authorization")
        return token

    def try_token(self, client="paysway"):
        """What a read comes to, good or bad."""
        return self.driver.ask("token", client=client, **wishes({}))

    def token_within(self, within, client="paysway"):
        """Reads until there is a token."""
        until(lambda: self.try_token(client)["ok"], "for a token", within)
        return self.token(client)

    def refusal_within(self, within, client="paysway"):
        """Reads until there is none."""
        return until(lambda: not (got := self.try_token(client))["ok"] and got, "for the token to be dropped", within)

    def no_token(self, reason, client="paysway", code=None, within=PATIENCE, **fields):
        return self.refused(reason, "token", code, within, client=client, **wishes(fields))

    def request(self, url=None, method="POST", client="paysway", headers=None, body="{}", within=PATIENCE, **fields):
        """A request through the adapter, which must be answered."""
        return self.done("request", within, **self.call(url, method, client, headers, body, **fields))

    def unsent(self, reason, url=None, method="POST", client="paysway", headers=None, body="{}", **fields):
        """A request that the adapter must refuse, and not send."""
        before = [partner.count() for partner in self.partners]
        answer = self.refused(reason, "request", **self.call(url, method, client, headers, body, **fields))
        equal([partner.count() for partner in self.partners], before, "how many requests the partner got")
        return answer

    def warm_up(self):
        """A first request, of another client, so that what it takes a process to load counts for nothing."""
        self.request(self.partner.url("/open/"), client="wawex", headers={"Requestor-ID": "1"})
        self.partner.take()

    def call(self, url, method, client, headers, body, stream_body=False, follow=False):
        return {
            "client": client, "method": method, "url": url or self.partner.url("/payments/validations"),
            "headers": headers or {}, "body": body, "stream_body": stream_body, "follow": follow,
        }  # fmt: skip

    # What is to come about

    def soon(self, condition, what, within=PATIENCE):
        return until(condition, what, within)

    def token_after(self, old, within, client="paysway"):
        """The token that memory has once it is not that one any more."""
        return until(lambda: (new := self.token(client))["id"] != old["id"] and new, "for another token", within)

    def old_enough(self, token):
        """Waits until the token is so old that a report of it counts."""
        until(lambda: time.time() > token["issued_at"] + YOUNG + 0.2, "for the token to grow older", 2 * YOUNG)

    def old_token(self, client="paysway"):
        token = self.token(client)
        self.old_enough(token)
        return token

    def connected(self, wanted, when):
        """That the daemon has so many connections, as soon as those of the suite's own tools have ended."""
        counts = []

        def fits():
            counts.append(self.daemon.connections())
            return counts[-1] == wanted

        try:
            until(fits, "", 2)
        except AssertionError:
            raise Failure(f"connections {when}: expected {wanted}, got {counts[-1]}") from None

    def requests(self, client="paysway"):
        """How many token requests the issuer got."""
        return self.issuer.accounts[client].requests

    # The end

    def leaks(self):
        """Where tokens or secrets are that must not be there."""
        texts = {"the driver's log": self.said(), "the daemon's log": self.daemon.said()}
        return [name for name, text in texts.items() if any(mark in text for mark in self.issuer.marks())]

    def said(self):
        """What the driver logged during the scenario."""
        own = "".join(driver.said() for driver in self.drivers)
        return own or (self.driver.said()[self.began :] if self.driver else "")

    def check(self):
        """What must hold at the end of every scenario."""
        equal(self.leaks(), [], "where tokens and secrets were logged")
        equal(self.issuer.wrong, [], "what was wrong with token requests")

    def close(self):
        with contextlib.ExitStack() as stack:
            for site in [self.issuer, *self.partners]:
                stack.callback(site.close)
            stack.callback(self.daemon.close)
            for driver in self.drivers:
                stack.callback(driver.close)
            for account in self.issuer.accounts.values():
                account.release()


def wishes(fields):
    return {"min_validity_s": None, "timeout_s": None} | fields


def expect(condition, what, got):
    if not condition:
        raise Failure(f"expected that {what}; got {json.dumps(got, default=str)[:1500]}")


def equal(got, expected, what):
    if got != expected:
        raise Failure(f"{what}: expected {expected!r}, got {got!r}")


def shown(do, fields):
    """A command, in short."""
    told = {name: value for name, value in fields.items() if value not in (None, {}, False)}
    return f"{do} {json.dumps(told)}" if told else do
