"""The service: started by its socket, notifying systemd, reloaded, given to whom it should be, in a booted system."""

import time

from scenario import APPLIED, REFUSED, SERVICE, SOCKET, Scenario

BILLING = [{"unit": "billing.service"}]
# No first round takes longer than that; what systemd and a busy machine take comes on top.
FIRST_ROUND = 30
SLACK = 15


class Activation(Scenario):
    def test_first_caller_starts_it(self):
        """Stopped, with the socket listening: the first caller gets a token, the second one the same."""
        self.client("demo", allow=[{"user": "billing"}])
        self.assertEqual(self.show("ActiveState"), "inactive")
        first = self.box.run("runuser", "-u", "billing", "--", "bearerd", "token", "demo")
        self.assertIn(self.issuer.marks[1], first.stdout)
        # It was served by a start that may still be under way; this joins it.
        self.systemctl("start", SERVICE)
        self.assertEqual(self.show("ActiveState"), "active")
        self.assertEqual(self.token()["access_token"], first.stdout.strip())
        self.assertEqual(self.issuer.requests("demo"), 1)

    def test_socket_outlives_the_service(self):
        """A stopped service neither takes the socket away nor closes it, so that it is started again."""
        self.client("demo")
        before = self.box.run("stat", "-c", "%i", "/run/bearerd/bearerd.sock").stdout
        self.token()
        self.systemctl("stop", SERVICE)
        self.assertEqual(self.show("ActiveState", SOCKET), "active")
        self.token()
        self.assertEqual(self.box.run("stat", "-c", "%i", "/run/bearerd/bearerd.sock").stdout, before)

    def test_passed_socket_counts(self):
        """The daemon serves what it is passed, and says so if its configuration names another socket."""
        self.client("demo")
        self.configure("server", '[server]\nsocket = "/run/bearerd/other.sock"\n')
        self.token()
        self.assertNotEqual(self.box.run("test", "-e", "/run/bearerd/other.sock", check=False).returncode, 0)
        warned = self.daemon_said(PRIORITY="4")
        self.assertTrue([entry for entry in warned if "socket" in entry["MESSAGE"]], self.daemon_said())


class Access(Scenario):
    def setUp(self):
        super().setUp()
        self.client("demo", allow=BILLING)
        self.start()

    def test_allowed_unit(self):
        done = self.ask("demo", "billing", "billing")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.strip(), self.token()["access_token"])

    def test_another_unit(self):
        """The same user in another unit is refused, and told in which one."""
        done = self.ask("demo", "billing", "report")
        self.assertEqual((done.returncode, done.stdout), (77, ""), done.stderr)
        self.assertIn("report.service", done.stderr)

    def test_another_user(self):
        self.client("demo", allow=[{"unit": "billing.service", "user": "billing"}])
        self.systemctl("reload", SERVICE)
        done = self.ask("demo", "stranger", "billing")
        self.assertEqual((done.returncode, done.stdout), (77, ""), done.stderr)
        self.assertIn(f"uid {self.box.run('id', '-u', 'stranger').stdout.strip()},", done.stderr)
        self.assertEqual(self.ask("demo", "billing", "billing").returncode, 0)

    def test_allowed_user_outside_the_unit(self):
        """Who is logged in is in no unit of the system's."""
        done = self.box.run("runuser", "-u", "billing", "--", "bearerd", "token", "demo", check=False)
        self.assertEqual(done.returncode, 77, done.stderr)


class Readiness(Scenario):
    def test_waits_for_the_first_round(self):
        """`systemctl start` returns when the tokens are there."""
        self.issuer.set(mode="slow", delay=2)
        self.client("demo")
        began = time.monotonic()
        self.start()
        self.assertGreaterEqual(time.monotonic() - began, 1.9)
        self.assertEqual(self.state(), "FRESH")
        self.assertRegex(self.show("StatusText"), "^1 client ready$")

    def test_issuer_that_is_down(self):
        """An outage neither keeps the service from starting nor makes it fail; it is told, and so is its end."""
        self.issuer.stop()
        self.client("demo", refresh={"retry_cap_without_token": "1s"})
        began = time.monotonic()
        self.start()
        self.assertLess(time.monotonic() - began, SLACK)
        self.assertEqual(self.show("ActiveState"), "active")
        self.wait_status("^0 of 1 clients? ready; demo ")
        self.issuer.start()
        self.wait_status("^1 client ready$", timeout=30)

    def test_issuer_that_hangs(self):
        """At the latest after half a minute the host's boot goes on."""
        self.issuer.set(mode="slow", delay=300)
        self.client("demo", timeouts={"attempt": "2m"})
        began = time.monotonic()
        self.start(timeout=FIRST_ROUND + SLACK)
        took = time.monotonic() - began
        self.assertGreater(took, FIRST_ROUND - 5, "it did not wait for the first round")
        self.assertEqual(self.show("ActiveState"), "active")
        self.wait_status("^0 of 1 clients? ready")
        self.assertEqual(self.token(check=False).returncode, 75)

    def test_boot_with_the_issuer_down(self):
        """The host boots all the same, and has its tokens when the issuer is back."""
        self.client("demo", refresh={"retry_cap_without_token": "1s"})
        self.assertLess(self.box.reboot(), FIRST_ROUND)
        self.assertEqual(self.systemctl("is-system-running").stdout.strip(), "running")
        self.assertEqual(self.show("ActiveState"), "active")
        self.wait_status("^0 of 1 clients? ready; demo ")
        self.issuer.start()
        self.wait_status("^1 client ready$", timeout=30)
        self.assertTrue(self.token_id())


class Status(Scenario):
    def test_counts_those_that_are_ready(self):
        for name in ("one", "two", "three"):
            self.client(name)
        self.start()
        self.wait_status("^3 clients ready$")

    def test_names_the_one_that_is_refused_and_since_when(self):
        for name in ("one", "two"):
            self.client(name)
        self.client("wawex")
        self.administer("/etc/bearerd/secrets/wawex", "not the secret\n")
        self.start()
        self.wait_status(r"^2 of 3 clients ready; wawex refused since .*\d\d:\d\d")
        self.secret("wawex")
        self.wait_status("^3 clients ready$")


class Reload(Scenario):
    def setUp(self):
        super().setUp()
        self.client("demo")
        self.start()
        self.before = self.token_id()

    def test_good(self):
        """The new client is there when `systemctl reload` returns, and the old one has its token still."""
        self.client("second")
        self.systemctl("reload", SERVICE)
        self.assertTrue(self.token_id("second"))
        self.assertEqual(self.token_id(), self.before)
        self.wait_status("^2 clients ready$")
        self.assertEqual(len(self.daemon_said(MESSAGE_ID=APPLIED)), 1, "it is read once")

    def test_bad(self):
        """`systemctl reload` fails, the journal names each problem, and everything goes on as it was."""
        self.configure("bad", "[clients.bad]\ntoken_uri = 1\nclient_id = true\n")
        self.client("second")
        done = self.systemctl("reload", SERVICE, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(self.show("ActiveState"), "active")
        self.assertEqual(self.token_id(), self.before)
        self.assertEqual(self.token("second", check=False).returncode, 78)
        self.wait_status(r"configuration not applied: \d+ problems")
        said = "\n".join(entry["MESSAGE"] for entry in self.daemon_said())
        for problem in ("clients.bad.token_uri", "clients.bad.client_id"):
            self.assertIn(problem, said)
        self.assertEqual(len(self.daemon_said(MESSAGE_ID=REFUSED)), 1)
        self.box.path("/etc/bearerd/conf.d/bad.toml").unlink()
        self.systemctl("reload", SERVICE)
        self.wait_status("^2 clients ready$")
        self.assertEqual(self.token_id(), self.before)
        self.assertEqual(self.show("NRestarts"), "0")

    def test_by_signal(self):
        """As older habits have it."""
        self.client("second")
        self.systemctl("kill", "--signal=HUP", SERVICE)
        self.wait_status("^2 clients ready$")
