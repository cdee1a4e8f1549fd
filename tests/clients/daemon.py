"""The real daemon with several clients, in a directory of its own."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import process
from columns import BIN, ROOT, TOOLS
from driver import Failure
from support.settings import tables
from support.waiting import PATIENCE, until


class Daemon:
    """`clients` has settings by name, which `reload` applies. What is not said is chosen so that `uid` may have the
    tokens, and so that one is asked for when somebody wants it."""

    def __init__(self, issuer, uid, clients, limits):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-"))
        self.directory.chmod(0o755)
        self.socket, self.log = self.directory / "b.sock", self.directory / "log"
        self.config = self.directory / "bearerd.toml"
        self.issuer, self.uid, self.clients, self.limits = issuer, uid, clients, limits
        self.process = None
        self.configure()

    def configure(self):
        """Writes the configuration as it is now."""
        sections = {"server": {"drain": "2s"}, "server.limits": self.limits}
        for name, settings in self.clients.items():
            account = self.issuer.accounts.get(name) or self.issuer.account(name)
            secret = self.directory / f"{name}.secret"
            if not secret.exists():
                secret.touch(mode=0o600)
                secret.write_text(account.secret)
            usual = {
                "token_url": f"{self.issuer.origin}/token",
                "client_id": name,
                "client_secret": {"file": secret},
                "allow": [{"uid": self.uid}],
                "prefetch": False,
            }
            sections[f"clients.{name}"] = usual | settings
        self.config.write_text(tables(sections))

    def start(self):
        """Starts it; returns when it serves, with the moment since which it does."""
        began = len(self.said())
        words = [BIN, "run", "--config", self.config, "--socket", self.socket, "--log", "debug"]
        with open(self.log, "ab") as log:
            self.process = process.start(words, environment={}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: " serving " in self.said()[began:] or self.process.poll() is not None, "for the daemon to serve")
        if self.process.poll() is not None:
            raise Failure(f"the daemon does not start: {self.said()[began:]}")
        return time.monotonic()

    def said(self):
        return self.log.read_text() if self.log.exists() else ""

    def terminate(self):
        """Orders an orderly end, and does not wait for it."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """An orderly end."""
        self.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure("the daemon does not stop") from None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def freeze(self):
        """From now on it does nothing: what works works without it."""
        self.process.send_signal(signal.SIGSTOP)
        status = pathlib.Path(f"/proc/{self.process.pid}/status")
        until(lambda: re.search(r"(?m)^State:\tT", status.read_text()), "for the daemon to stand still")

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def run(self, *words, check=True):
        """The command line, as an administrator."""
        done = subprocess.run(
            [BIN, "--socket", self.socket, *words], env={"PATH": "/usr/bin:/bin"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=2 * PATIENCE,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise Failure(f"bearerd {' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def status(self, client):
        return json.loads(self.run("status", client, "--json").stdout)["clients"][0]

    def refresh(self, client, check=True):
        """Has a new token requested, five seconds after the last one or later; its id."""
        answer = self.run("refresh", client, "--json", check=check)
        return json.loads(answer.stdout)["status"]["token_id"] if answer.returncode == 0 else None

    def reload(self, **clients):
        """Applies other settings of clients; a client without settings goes away."""
        for name, settings in clients.items():
            if settings is None:
                del self.clients[name]
            else:
                self.clients[name] = settings
        self.configure()
        self.run("reload")

    def connections(self):
        """How many connections to the socket it has, as the kernel sees it."""
        rows = [row.split() for row in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]]
        accepting = "00010000"
        return sum(1 for row in rows if row[-1] == str(self.socket) and len(row) == 8 and row[3] != accepting)

    def calls(self):
        """How many calls and streams are in progress, as Admin.GetInfo counts, without this one."""
        words = [TOOLS / "grpcurl", "-plaintext", "-import-path", ROOT / "proto", "-proto", "bearerd/v1/admin.proto"]
        words += [f"unix://{self.socket}", "bearerd.v1.Admin/GetInfo"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
        if done.returncode != 0:
            raise Failure(f"grpcurl: {done.stderr}")
        return json.loads(done.stdout)["calls"] - 1

    def close(self):
        if self.process is not None:
            process.end(self.process)
        shutil.rmtree(self.directory)
