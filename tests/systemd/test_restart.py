"""Nothing is lost by a restart, an upgrade, a crash or a hang: no call, no token, no token request."""

import signal
import time

from load import CALLERS, RATE, Load
from scenario import SERVICE, Scenario, version_of

DEBUG = "/usr/local/bin/bearerd-debug"


class Restart(Scenario):
    def setUp(self):
        super().setUp()
        # The load is a unit of root's; a rule costs what it costs elsewhere.
        self.client("demo", allow=[{"unit": "load.service"}])
        self.start()
        self.before = self.token_id()
        self.assertEqual(self.issuer.requests(), 1)

    def assert_same_token(self):
        self.assertEqual(self.token_id(), self.before)
        self.assertEqual(self.issuer.requests(), 1, "the issuer was asked again")

    def assert_nothing_failed(self, report):
        calls = sum(report["calls"].values())
        rate = calls / report["seconds"]
        print(f"{calls} calls, {rate:.0f}/s, slowest {report['slowest']:.2f} s", end=" ", flush=True)
        self.assertEqual(report["failed"], [])
        self.assertEqual(report["ids"], [self.before])
        self.assertGreater(rate, 0.8 * RATE, "less load than there should have been")
        self.assertGreater(min(report["calls"].values()), 0)

    def wait_until_kept(self):
        """Waits until PID 1 holds a copy of the token, which it is given about a second after the token changed."""
        token = self.token()["access_token"]
        look = ["find", "/proc/1/fd", "-lname", "/memfd:bearerd-tokens*"]
        look += ["-exec", "grep", "-aq", token, "{}", ";", "-print"]
        self.box.wait(lambda: self.box.run(*look, check=False).stdout, "to keep the token")

    def wait_for_another(self, pid):
        """Waits until another process than this one serves."""
        self.box.wait(
            lambda: self.show("MainPID") not in ("0", pid) and self.show("ActiveState") == "active", "to serve again"
        )


class Planned(Restart):
    def test_restart_under_load(self):
        pids = {self.show("MainPID")}
        with Load(self.box) as load:
            for _ in range(3):
                self.systemctl("restart", SERVICE)
                pids.add(self.show("MainPID"))
                load.go_on(RATE)
        self.assertEqual(len(pids), 4)
        self.assert_nothing_failed(load.report)
        self.assert_same_token()

    def test_upgrade_under_load(self):
        pid = self.show("MainPID")
        with Load(self.box) as load:
            self.install(self.newer)
            load.go_on(RATE)
        self.assertEqual(self.version(), version_of(self.newer))
        self.assertNotEqual(self.show("MainPID"), pid, "the old program still runs")
        self.assert_nothing_failed(load.report)
        self.assert_same_token()

    def test_back_to_the_older_package_under_load(self):
        """Backing out loses no more than the upgrade did."""
        self.install(self.newer)
        with Load(self.box) as load:
            self.install(self.package)
            load.go_on(RATE)
        self.assertEqual(self.version(), version_of(self.package))
        self.assert_nothing_failed(load.report)
        self.assert_same_token()

    def test_only_what_changed_is_asked_for_again(self):
        """A client whose settings changed while the daemon was down gets a token of its own; the others keep theirs."""
        self.client("second")
        self.systemctl("reload", SERVICE)
        second = self.token_id("second")
        self.client("second", scope="more")
        self.systemctl("restart", SERVICE)
        self.assertNotEqual(self.token_id("second"), second)
        self.assertEqual(self.issuer.requests("second"), 2)
        self.assertEqual(self.token_id(), self.before)
        self.assertEqual(self.issuer.requests("demo"), 1)

    def test_stop_forgets(self):
        self.systemctl("stop", SERVICE)
        self.start()
        self.assertNotEqual(self.token_id(), self.before)
        self.assertEqual(self.issuer.requests(), 2)

    def test_without_the_store(self):
        """Where systemd keeps nothing, a restart costs one request, and nobody is refused."""
        self.drop_in("FileDescriptorStoreMax=0")
        self.systemctl("restart", SERVICE)
        asked = self.issuer.requests()
        with Load(self.box) as load:
            self.systemctl("restart", SERVICE)
            load.go_on(RATE)
        self.assertEqual(load.report["failed"], [])
        self.assertEqual(self.issuer.requests(), asked + 1)
        self.assertEqual([entry for entry in self.daemon_said() if entry["PRIORITY"] < "4"], [])

    def test_store_is_not_filled(self):
        """However often the daemon starts, systemd holds one copy, so that its store is never full."""
        for _ in range(3):
            self.systemctl("restart", SERVICE)
            self.wait_until_kept()
            self.box.wait(lambda: self.show("NFileDescriptorStore") == "1", "to hold one copy")
        self.assert_same_token()


class Crash(Restart):
    def test_kill(self):
        """systemd starts it again, and it has its tokens."""
        self.wait_until_kept()
        pid = self.show("MainPID")
        self.systemctl("kill", "--signal=KILL", SERVICE)
        self.wait_for_another(pid)
        self.assertEqual(self.show("NRestarts"), "1")
        self.assert_same_token()

    def test_kill_under_load(self):
        """Calls that were being answered fail, and no other: who calls meanwhile waits in the socket's queue."""
        self.wait_until_kept()
        pid = self.show("MainPID")
        with Load(self.box) as load:
            self.systemctl("kill", "--signal=KILL", SERVICE)
            self.wait_for_another(pid)
            load.go_on(RATE)
        failed = load.report["failed"]
        print(f"{len(failed)} calls failed", end=" ", flush=True)
        self.assertLessEqual(len(failed), CALLERS, failed)
        self.assertEqual(load.report["ids"], [self.before])
        self.assert_same_token()

    def test_crash_loop_stays_slow(self):
        """A program that ends at once is not started more than a few times in some seconds, and never given up."""
        self.drop_in("ExecStart=", "ExecStart=/bin/false")
        self.systemctl("restart", "--no-block", SERVICE)
        self.box.wait(lambda: int(self.show("NRestarts")) >= 2, "to try again")
        starts = [entry for entry in self.journal(UNIT=SERVICE) if "status=1" in entry["MESSAGE"]]
        began = [int(entry["__REALTIME_TIMESTAMP"]) for entry in starts]
        self.assertGreater(began[-1] - began[0], 1_000_000 * (len(began) - 1))
        self.assertEqual(self.show("ActiveState"), "activating")


class Watchdog(Restart):
    """With a limit of two seconds, so that a hang is noticed soon."""

    def watched(self, *lines):
        self.drop_in("WatchdogSec=2s", "RestartSec=100ms", *lines)
        self.systemctl("restart", SERVICE)
        self.wait_until_kept()

    def assert_recovers(self, number):
        pid = self.show("MainPID")
        self.systemctl("kill", f"--signal={number.name}", "--kill-whom=main", SERVICE)
        self.wait_for_another(pid)
        self.assertEqual(self.show("NRestarts"), "1")
        self.assertRegex(self.systemd_said(), r"Watchdog timeout \(limit 2s\)!")
        self.assert_same_token()

    def use_debug_build(self):
        self.box.copy(self.debug, DEBUG)
        self.watched("ExecStart=", f"ExecStart={DEBUG} run")

    def test_engine_that_hangs(self):
        """The thread that keeps tokens fresh hangs, the one that serves callers does not."""
        self.use_debug_build()
        self.assert_recovers(signal.SIGUSR1)

    def test_serving_that_hangs(self):
        self.use_debug_build()
        self.assert_recovers(signal.SIGUSR2)

    def test_process_that_is_stopped(self):
        self.watched()
        self.assert_recovers(signal.SIGSTOP)

    def test_quiet_service_is_left_alone(self):
        """With nothing to do, it still answers the watchdog: over three limits, the same process runs."""
        self.watched()
        pid = self.show("MainPID")
        until = time.monotonic() + 6
        self.box.wait(lambda: time.monotonic() > until or self.show("MainPID") != pid, "to be quiet")
        self.assertEqual(self.show("MainPID"), pid)
        self.assertEqual(self.show("NRestarts"), "0")
