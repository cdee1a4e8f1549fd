"""What is built before anything is played."""

import concurrent.futures
import subprocess

from columns import HERE, ROOT

LOGS = ROOT / "target/clients/logs"
# Seconds that one build may take on a new machine.
PATIENCE = 900


def tools():
    """Builds the command-line tools, which other columns need as well; what went wrong, if something did."""
    LOGS.mkdir(parents=True, exist_ok=True)
    return _build(HERE / "tools")


def columns(chosen, at_a_time=2):
    """Builds each column's driver; by directory what went wrong, none if nothing did."""
    directories = list(dict.fromkeys(column.directory for column in chosen))
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        return dict(zip(directories, pool.map(_build, directories), strict=True))


def _build(directory):
    name = str(directory.relative_to(ROOT)).replace("/", "-")
    program = directory / "build"
    if not program.exists():
        return f"{program.relative_to(ROOT)} is missing"
    log = LOGS / f"{name}.log"
    with open(log, "wb") as output:
        try:
            code = subprocess.run(
                [program], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False,
                timeout=PATIENCE,
            ).returncode  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    return None if code == 0 else f"{program.relative_to(ROOT)} ended with {code}: {log.read_text()[-1500:]}"
