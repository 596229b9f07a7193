"""The recordings of all test files, kept until the file changes or what it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
from rich.console import Console

from tests.mutation.recording import Touched
from tests.mutation.trial import Forks, Trial

FOLDERS = (
    "tests/unit/state",
    "tests/unit/invalidation",
    "tests/unit/swarm/test_service.py",
    "tests/unit/swarm/dialogue/test_host.py",
    "tests/unit/deploy/test_settings.py",
    "tests/contracts",
    "tests/guards",
    "tests/defects",
    "tests/migration",
    "tests/integration/state",
    "tests/integration/invalidation",
    "tests/integration/swarm",
    "tests/integration/api/test_files.py",
    "tests/integration/api/test_people.py",
    "tests/integration/api/test_repeating.py",
    "tests/integration/api/test_sessions.py",
    "tests/integration/api/test_webhooks.py",
)
CODE = ("src", "tests/support", "alembic")
_Some = tuple[Touched, ...]

console = Console()


def touches(work: Path, tree: Path, forks: Forks) -> Sequence[Touched]:
    """Return what every test runs, recording what is not known yet, folder after folder.

    A test that fails without any mutant could not tell one; it is left out, and said.
    """
    folder = work / "recordings"
    folder.mkdir(exist_ok=True)
    code = sha256()
    for name in CODE:
        for path in sorted((tree / name).rglob("*.py")):
            code.update(path.read_bytes())
    found: list[Touched] = []
    for name in FOLDERS:
        recordings = {
            str(file.relative_to(tree)): folder / _name(file, tree, code.digest())
            for file in _files(tree / name)
        }
        _record(work, forks, {file: one for file, one in recordings.items() if not one.exists()})
        for one in recordings.values():
            found += msgspec.json.decode(one.read_bytes(), type=_Some)
    return found


def _files(path: Path) -> Sequence[Path]:
    return sorted(path.rglob("test_*.py")) if path.is_dir() else [path]


def _name(file: Path, tree: Path, code: bytes) -> str:
    parts = file.relative_to(tree).parts
    return f"{'.'.join(parts)}.{sha256(code + file.read_bytes()).hexdigest()[:12]}"


def _record(work: Path, forks: Forks, missing: Mapping[str, Path]) -> None:
    if not missing:
        return
    # Of this process alone: another one may record other files meanwhile.
    log, into = work / f"recording-{os.getpid()}.log", work / f"recording-{os.getpid()}.json"
    trial = Trial(tuple(missing), arguments=("--maxfail=100000",), log=str(log), record=str(into))
    if forks.run(trial) != "survived":
        console.print(f"some tests fail without a mutant and are left out; see {log}")
    found = msgspec.json.decode(into.read_bytes(), type=_Some)
    for file, recording in missing.items():
        recording.write_bytes(msgspec.json.encode([one for one in found if one.file == file]))
