"""A driver: JSON objects, one a line, to a program and back."""

import contextlib
import json
import os
import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading
import time

import process
from support.waiting import PATIENCE


class Failure(AssertionError):
    """What a scenario found wrong."""


class NotApplicable(Exception):
    """The driver has no such thing."""


class Driver:
    """A running driver, as a user of its own; `log` has what it wrote to standard error."""

    def __init__(self, column, words=(), **environment):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-driver-"))
        os.chown(self.home, column.uid, column.uid)
        self.log = self.home / "stderr"
        home = {"HOME": str(self.home), "PYTHONDONTWRITEBYTECODE": "1"}
        with open(self.log, "wb") as log:
            self.process = process.start(
                [*column.command, *words], environment=home | environment, uid=column.uid, cwd="/",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self.lines = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.asked = []

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def begin(self, do, **fields):
        """Sends a command whose answer `answer` gives."""
        command = {"do": do, **fields}
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failure(f"the driver has ended: {self.process.wait(PATIENCE)}") from None
        self.asked.append(command)

    def answered(self):
        """Whether an answer is there."""
        return not self.lines.empty()

    def answer(self, within=PATIENCE):
        """The answer to the oldest command without one, with the seconds until it came in `took`."""
        command, began = self.asked.pop(0), time.monotonic()
        try:
            line = self.lines.get(timeout=within)
        except queue.Empty:
            raise Failure(f"no answer within {within} s to {json.dumps(command)}") from None
        if line is None:
            raise Failure(f"the driver ended ({self.process.wait(PATIENCE)}) over {json.dumps(command)}")
        try:
            answer = json.loads(line)
        except ValueError:
            raise Failure(f"no JSON in answer to {json.dumps(command)}: {line[:500]!r}") from None
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            raise Failure(f"no object with `ok` in answer to {json.dumps(command)}: {line[:500]!r}")
        if answer.get("reason") == "NOT_APPLICABLE":
            raise NotApplicable(answer.get("message") or f"{command['do']}: the driver has no such thing")
        return answer | {"took": time.monotonic() - began}

    def ask(self, do, within=PATIENCE, **fields):
        self.begin(do, **fields)
        return self.answer(within)

    def said(self):
        return self.log.read_text(errors="replace")

    def end(self, within):
        """Ends its input; how it ended, or none if it did not."""
        self.process.stdin.close()
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def close(self):
        process.end(self.process)
        self.reader.join(PATIENCE)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        shutil.rmtree(self.home)
