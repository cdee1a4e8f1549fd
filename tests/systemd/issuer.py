"""The issuer of a box, as scenarios see it; what answers is inside/issuer.py."""

import json
import pathlib
import secrets

DIRECTORY = "/var/lib/issuer"
PROGRAM = "/usr/local/lib/issuer.py"
SOURCE = pathlib.Path(__file__).resolve().parent / "inside/issuer.py"
HOUR = 3600


class Issuer:
    """Up and well, and nobody has asked it yet."""

    def __init__(self, box):
        self.box = box
        # What each secret and each token begins with: none of it may be found where no secret belongs.
        self.marks = [f"sesame{secrets.token_hex(8)}", f"ticket{secrets.token_hex(8)}"]
        box.copy(SOURCE, PROGRAM)
        self.set(secret=self.marks[0], token=self.marks[1], mode="up", delay=0, lifetime=HOUR)
        box.write(f"{DIRECTORY}/requests", "")
        self.start()

    def start(self):
        self.box.run("systemd-run", "--quiet", "--collect", "--unit=issuer", "python3", PROGRAM, DIRECTORY)
        self.box.wait(self.is_listening, "to have an issuer")

    def stop(self):
        self.box.run("systemctl", "stop", "issuer.service", check=False)

    def is_listening(self):
        return ":1F90 00000000:0000 0A" in self.box.run("cat", "/proc/net/tcp").stdout

    def set(self, **settings):
        for name, value in settings.items():
            self.box.write(f"{DIRECTORY}/{name}", f"{value}\n")

    def secret(self, client):
        return f"{self.box.read(f'{DIRECTORY}/secret').strip()}-{client}"

    def requests(self, client=None):
        """How many requests were answered, for this client or for all."""
        lines = self.box.read(f"{DIRECTORY}/requests").splitlines()
        return sum(client in (None, json.loads(line)["client"]) for line in lines)
