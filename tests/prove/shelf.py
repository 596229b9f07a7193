"""Where the results of finished acts lie: one file per act, so that a run can be taken up again.

A result belongs to the source tree that it was got from. Once that has changed, it counts no more.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

from src.embedded.binaries import find_postgres, find_redis
from tests.prove.act import Result

ROOT = Path(__file__).parents[2]
SHELF = ROOT / ".prove"
_TREE = (
    "src",
    "alembic",
    "tests/acceptance",
    "tests/guards",
    "tests/prove",
    "tests/simulation",
    "tests/support",
    "requirements.txt",
)
"""What can change the outcome of an act."""
_NOT_AN_ACT = {"__main__.py", "report.py", "required.py", "runner.py", "shelf.py"}
"""Files of tests/prove that only start acts and tell about them."""

Outcome = Literal["kept", "broken", "failed"]


class Record(msgspec.Struct, frozen=True):
    """A finished act."""

    act: str
    kind: str
    tree: str
    outcome: Outcome
    """`kept`: every promise was. `broken`: one was not. `failed`: the act came to no end."""
    result: Result
    error: str = ""
    took_s: float = 0.0
    versions: Mapping[str, str] = {}
    earlier: Sequence[str] = ()
    """What went wrong when it was played before, on the same tree."""

    @property
    def why(self) -> str:
        """What is wrong with it, in one line; empty if nothing is."""
        if self.outcome == "broken":
            more = len(self.result.violations) - 1
            return self.result.violations[0] + (f" (and {more} more)" if more else "")
        return self.error.strip().splitlines()[-1] if self.error.strip() else ""


class Shelf:
    """The folder of results."""

    def __init__(self, folder: Path = SHELF) -> None:
        self.folder = folder

    def path(self, act: str) -> Path:
        return self.folder / f"{act}.json"

    def put(self, record: Record) -> None:
        """Keep a record, in place of the act's former one; whole or not at all."""
        self.folder.mkdir(exist_ok=True)
        draft = self.path(record.act).with_suffix(".draft")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
        draft.rename(self.path(record.act))

    def keep(self, act: str, folder: Path) -> Path:
        """Keep all that a failed act left in its folder: ledger, logs, data; return where."""
        kept = self.folder / f"{act}.evidence"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder, kept, symlinks=True)
        return kept

    def get(self, act: str, tree: str | None) -> Record | None:
        """Return the act's record of this tree, of any if that is None."""
        try:
            record = msgspec.json.decode(self.path(act).read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return record if tree in (None, record.tree) else None

    def records(self, acts: Iterable[str], tree: str | None) -> list[Record]:
        """Return what there is of these acts, in their order."""
        return [record for act in acts if (record := self.get(act, tree)) is not None]

    def clear(self, acts: Iterable[str]) -> None:
        """Throw these acts' records away."""
        for act in acts:
            self.path(act).unlink(missing_ok=True)
            shutil.rmtree(self.folder / f"{act}.evidence", ignore_errors=True)


def tree_of(root: Path = ROOT) -> str:
    """Return a digest of all sources that an act depends on."""
    digest = sha256()
    for name in _TREE:
        top = root / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            inside = str(path.relative_to(root))
            if not path.is_file() or not _counts(inside, path):
                continue
            content = path.read_bytes()
            digest.update(f"{inside}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _counts(inside: str, path: Path) -> bool:
    if "__pycache__" in inside or path.suffix == ".pyc":
        return False
    return not (path.parent.name == "prove" and (path.name in _NOT_AN_ACT or "test_" in path.name))


def versions() -> dict[str, str]:
    """Say what an act runs on."""
    return {
        "commit": _commit(),
        "Python": platform.python_version(),
        "PostgreSQL": str(find_postgres()),
        "Redis": str(find_redis()),
    }


def _commit() -> str:
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=10"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()
