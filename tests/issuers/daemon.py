"""The daemon and its command line, in a directory of its own; all that it says is kept, to be searched for secrets."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

BIN = os.environ.get("BEARERD_BIN", str(pathlib.Path(__file__).resolve().parents[2] / "target/debug/bearerd"))
# Long enough that only something broken reaches it.
PATIENCE = 20


class Daemon:
    """One daemon with one client, `it`; `with Daemon(issuer = …) as daemon`."""

    def __init__(self, **settings):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-"))
        self.config = self.directory / "bearerd.toml"
        self.log = self.directory / "log"
        lines = [f"{name} = {toml(value)}" for name, value in settings.items()]
        self.config.write_text("\n".join(["[clients.it]", *lines, ""]))
        self.said = []
        self.tokens = set()
        self.environment = {"PATH": "/usr/bin:/bin", "BEARERD_SOCKET": str(self.directory / "b.sock")}
        words = [BIN, "run", "--config", self.config, "--log", "debug"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                words, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self.wait(lambda: " serving " in self.log.read_text(), "to serve")

    def wait(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"waited in vain for the daemon {what}: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def run(self, *words):
        answer = subprocess.run(
            [BIN, *words], env=self.environment, capture_output=True, text=True, check=False, timeout=2 * PATIENCE
        )
        shown = answer.stderr if words[0] in ("token", "headers") else answer.stdout + answer.stderr
        self.said.append(shown)
        return answer

    def token(self):
        answer = self.run("token", "it")
        if answer.returncode != 0:
            raise AssertionError(f"no token: {answer.stderr}")
        self.tokens.add(answer.stdout.strip())
        return answer.stdout.strip()

    def refresh(self):
        answer = self.run("refresh", "it")
        if answer.returncode != 0:
            raise AssertionError(f"not refreshed: {answer.stderr}")
        return self.token()

    def status(self):
        return json.loads(self.run("status", "--json").stdout)["clients"][0]

    def wait_for(self, state):
        self.wait(lambda: self.status()["state"] == state, f"to be {state}")
        return self.status()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("the daemon did not stop") from None

    def close(self):
        try:
            self.stop()
        finally:
            self.said.append(self.log.read_text())
            shutil.rmtree(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def toml(value):
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return json.dumps(value if isinstance(value, (bool, int)) else str(value))
