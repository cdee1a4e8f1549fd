"""The columns of the matrices: what is built, what is run, and as whom."""

import dataclasses
import os
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOOLS = ROOT / "target/clients/bin"
BIN = pathlib.Path(os.environ.get("BEARERD_BIN", ROOT / "target/debug/bearerd"))
# Nanoseconds that a read may take.
GOAL, GOAL_PYTHON = 1_000, 5_000
# User ids that nobody has: the daemon sees that callers are neither root nor itself.
FIRST_UID = 61_000


@dataclasses.dataclass(frozen=True)
class Column:
    """A driver. `kind` says by which table it is judged."""

    name: str
    kind: str
    # The directory with `build` and `run`, and the words after `run`.
    directory: pathlib.Path
    words: tuple = ()
    goal: int = GOAL

    @property
    def command(self):
        return [str(self.directory / "run"), *self.words]

    @property
    def build(self):
        return self.directory / "build"

    @property
    def uid(self):
        return FIRST_UID + COLUMNS.index(self)


def _library(language, *modes, goal=GOAL):
    directory = ROOT / "clients" / language / "conformance"
    return [Column(f"{language}/{mode}", "library", directory, (mode,), goal) for mode in modes]


COLUMNS = [
    *_library("python", "requests", "httpx", "asyncio", goal=GOAL_PYTHON),
    *_library("go", "transport", "oauth2"),
    *_library("node", "fetch"),
    *_library("java", "http"),
    *_library("rust", "reqwest"),
    *(
        Column(name, "stock", HERE / "stock" / name)
        for name in ("grpcio", "grpclib", "go", "node", "java", "cpp", "rust")
    ),
    Column("grpcurl", "stock", HERE / "tools", ("grpcurl",)),
    Column("grpc_health_probe", "stock", HERE / "tools", ("probe",)),
]
