"""The recordings of all test files, kept until the file changes or what it runs."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
from rich.console import Console

from tests.mutation.forks import Forks, Trial
from tests.mutation.recording import Touched

FOLDERS = (
    "tests/unit",
    "tests/contracts",
    "tests/guards",
    "tests/defects",
    "tests/migration",
    "tests/integration/state",
    "tests/integration/invalidation",
    "tests/integration/swarm",
    "tests/integration/api",
)
CODE = ("src", "tests/support", "alembic")
_Some = tuple[Touched, ...]

console = Console()


def touches(work: Path, tree: Path, forks: Forks) -> Sequence[Touched]:
    """Return what every test runs, recording what is not known yet in one pytest run.

    A test that fails without any mutant could not tell one; it is left out, and said.
    """
    folder = work / "recordings"
    folder.mkdir(exist_ok=True)
    files = [path for name in FOLDERS for path in sorted((tree / name).rglob("test_*.py"))]
    code = sha256()
    for name in CODE:
        for path in sorted((tree / name).rglob("*.py")):
            code.update(path.read_bytes())
    kept = {
        str(path.relative_to(tree)): folder / _name(path.relative_to(tree), path, code.digest())
        for path in files
    }
    missing = [file for file, recording in kept.items() if not recording.exists()]
    if missing:
        found = _record(work, forks, missing)
        for file in missing:
            own = [one for one in found if one.file == file]
            kept[file].write_bytes(msgspec.json.encode(own))
    return [
        test
        for recording in kept.values()
        for test in msgspec.json.decode(recording.read_bytes(), type=_Some)
    ]


def _name(file: Path, path: Path, code: bytes) -> str:
    return f"{'.'.join(file.parts)}.{sha256(code + path.read_bytes()).hexdigest()[:12]}"


def _record(work: Path, forks: Forks, files: Sequence[str]) -> _Some:
    log, into = work / "recording.log", work / "recording.json"
    trial = Trial(files=tuple(files), log=str(log), record=str(into))
    if forks.run(trial) != "survived":
        console.print(f"some tests fail without a mutant and are left out; see {log}")
    return msgspec.json.decode(into.read_bytes(), type=_Some)
