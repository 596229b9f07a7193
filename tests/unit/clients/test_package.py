"""The package stands by itself: nothing of the server, and no more than it declares."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "clients" / "python"
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]

_IMPORT_ALL = """
import importlib, pathlib, sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
for path in sorted(pathlib.Path(sys.argv[1], "swarmstate_client").glob("*.py")):
    if path.stem not in sys.argv[2:]:
        importlib.import_module(f"swarmstate_client.{path.stem}")
# What has no spec was made by a compiled module for itself, not imported.
new = {name: sys.modules[name] for name in set(sys.modules) - before}
loaded = [name for name, module in new.items() if getattr(module, "__spec__", None)]
found = {name.partition(".")[0] for name in loaded}
print(*sorted(found - sys.stdlib_module_names - {"swarmstate_client"}))
"""


def imported(*without: str) -> set[str]:
    """Return what a fresh interpreter imports from outside with the modules of the package."""
    told = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", _IMPORT_ALL, PACKAGE, *without],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.split())


def declared() -> set[str]:
    """Return the import names of the dependencies, and of theirs."""
    waiting = [name_of(one) for one in PROJECT["dependencies"]]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needed = requires(name) or ()
        except PackageNotFoundError:
            continue  # Of another platform or version of Python.
        waiting += [name_of(one) for one in needed if "extra ==" not in one]
    return {
        module
        for module, owners in packages_distributions().items()
        if found & {name_of(owner) for owner in owners}
    }


def name_of(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")


def test_it_imports_with_its_declared_dependencies_alone() -> None:
    found = imported("livekit")
    assert "aiohttp" in found
    assert found - declared() == set()


def test_livekit_is_an_extra_and_the_one_that_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (extra,) = PROJECT["optional-dependencies"]["livekit"]
    assert extra in project["dependency-groups"]["dev"]
