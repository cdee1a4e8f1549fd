"""Callers at a steady rate, as scenarios see them; what calls is inside/load.py."""

import json
import pathlib

DIRECTORY = "/var/lib/load"
PROGRAM = "/usr/local/lib/load.py"
SOURCE = pathlib.Path(__file__).resolve().parent / "inside/load.py"
RATE = 200
# How many calls are under way at most, as inside/load.py has so many callers.
CALLERS = 16
UNIT = "load.service"


class Load:
    """`with Load(box) as load`: calls are under way; afterwards `report` says what they came to."""

    def __init__(self, box, client="demo"):
        self.box, self.client, self.report = box, client, None

    def __enter__(self):
        box = self.box
        box.copy(SOURCE, PROGRAM)
        box.write(f"{DIRECTORY}/report.calls", "0")
        box.path(f"{DIRECTORY}/report").unlink(missing_ok=True)
        # Mixed: the program itself ends its calls when it is stopped.
        run = ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "--property=KillMode=mixed"]
        box.run(*run, "python3", PROGRAM, self.client, RATE, f"{DIRECTORY}/report")
        self.go_on(RATE)
        return self

    def calls(self):
        # Empty while it is being written.
        return int(self.box.read(f"{DIRECTORY}/report.calls") or 0)

    def go_on(self, calls):
        """Waits until so many more calls are done."""
        goal = self.calls() + calls
        self.box.wait(lambda: self.calls() >= goal, f"to make {calls} calls")

    def __exit__(self, kind, *_):
        self.box.run("systemctl", "stop", UNIT)
        if kind is None:
            self.report = json.loads(self.box.read(f"{DIRECTORY}/report"))
