"""What the running service costs with a hundred clients: memory, and the processor while nobody asks."""

import re
import time

from scenario import SERVICE, Scenario

CLIENTS = 100
MEMORY = 15  # MiB
SECONDS = 20
PROCESSOR = 0.1  # per cent


class Footprint(Scenario):
    def test_hundred_clients(self):
        for number in range(CLIENTS):
            self.client(f"client-{number}")
        self.start()
        self.wait_status(f"^{CLIENTS} clients ready$")
        self.token("client-0")
        # The hand-over after the first round is still to come, about a second later.
        self.box.wait(lambda: self.show("NFileDescriptorStore") == "1", "to keep the tokens")
        began, before = time.monotonic(), self.used()
        self.box.run("sleep", SECONDS)
        idle = (self.used() - before) / ((time.monotonic() - began) * 1_000_000) * 100
        status = self.box.run("cat", f"/proc/{self.show('MainPID')}/status").stdout
        memory = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024
        print(f"{CLIENTS} clients: RSS {memory:.1f} MiB, idle {idle:.3f} % of a processor", end=" ", flush=True)
        self.assertLess(memory, MEMORY)
        self.assertLess(idle, PROCESSOR)

    def used(self):
        """Microseconds of processor time that all of the service has taken."""
        group = self.show("ControlGroup", SERVICE)
        said = self.box.run("cat", f"/sys/fs/cgroup{group}/cpu.stat").stdout
        return int(re.search(r"usage_usec (\d+)", said)[1])
