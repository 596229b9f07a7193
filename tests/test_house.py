"""The rules of the house that no other tool holds."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for root in ("src", "clients") for path in (ROOT / root).rglob("*.py"))
ROOMS = sorted(path.parent for path in (ROOT / "src").glob("*/__init__.py"))
REQUIREMENTS = sorted(ROOT.glob("requirements*.txt"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

Function = ast.FunctionDef | ast.AsyncFunctionDef

FILE_LINES = 350
FUNCTION_LINES = 60
LONG_FUNCTIONS = {
    "src/swarm/runtime.py open_runtime",  # The composition root: every part of a server, once.
}
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_is_longer_than_one_idea() -> None:
    long = {relative(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: lines for path, lines in long.items() if lines > FILE_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{relative(path)} {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, Function) and own_lines(node) > FUNCTION_LINES
    }
    assert long - LONG_FUNCTIONS == set()


def own_lines(function: Function) -> int:
    """Lines of the body; functions inside, such as the routes of a router, count for themselves."""
    inner = [node for node in function.body if isinstance(node, Function)]
    return lines(function.body) - sum(lines([*node.decorator_list, node]) for node in inner)


def lines(nodes: Sequence[ast.stmt | ast.expr]) -> int:
    return (nodes[-1].end_lineno or nodes[-1].lineno) - nodes[0].lineno + 1


def test_no_module_is_named_for_nothing() -> None:
    named = {path for path in SOURCES if {path.stem, path.parent.name} & EMPTY_NAMES}
    assert named == set()


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_room_says_what_it_owns_and_where_to_start(room: Path) -> None:
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    assert len(said.split()) >= 20
    assert "start reading" in said.lower()


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_unit_test_has_the_path_of_its_source(room: Path) -> None:
    tests = (ROOT / "tests" / "unit" / room.name).rglob("test_*.py")
    strays = [
        relative(test)
        for test in tests
        if not (path := source_of(test)).with_suffix(".py").exists() and not path.is_dir()
    ]
    assert strays == []


def source_of(test: Path) -> Path:
    inside = test.relative_to(ROOT / "tests" / "unit")
    return ROOT / "src" / inside.parent / inside.stem.removeprefix("test_")


def test_import_is_the_path() -> None:
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src"]


@pytest.mark.parametrize("file", REQUIREMENTS, ids=lambda file: file.name)
def test_requirements_are_pinned_and_hashed_and_name_no_address(file: Path) -> None:
    text = re.sub(r"(?m)^#.*\n", "", file.read_text())
    entries = re.split(r"\n(?=\S)", text.strip())
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+(\[[a-z0-9,-]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "//" not in text
    assert " @ " not in text


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("requirements.txt", PROJECT["project"]["dependencies"]),
        ("requirements-dev.txt", PROJECT["project"]["dependencies"]),
        ("requirements-dev.txt", PROJECT["dependency-groups"]["dev"]),
        ("requirements-bench.txt", PROJECT["dependency-groups"]["bench"]),
        ("requirements-mutate.txt", PROJECT["dependency-groups"]["mutate"]),
    ],
)
def test_requirements_follow_the_project(file: str, names: list[str]) -> None:
    pinned = set(re.findall(r"(?m)^([a-z0-9.-]+)(?:\[.*\])?==", (ROOT / file).read_text()))
    wanted = {re.split(r"[\[<>=~;! ]", name)[0].lower() for name in names}
    assert wanted - pinned == set()


def test_every_door_is_in_the_help() -> None:
    doors = re.findall(r"(?m)^\.PHONY: (.*)$", (ROOT / "Makefile").read_text())[0].split()
    told = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, check=True).stdout
    assert [door for door in doors if f"make {door} " not in told] == []


def test_lock_that_names_hosts_stays_out_of_git() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "uv.lock" in ignored


@pytest.mark.parametrize("numbered", ["docs/adr/*.md", "alembic/versions/*.py"])
def test_decisions_and_revisions_are_numbered_without_a_gap(numbered: str) -> None:
    numbers = sorted(int(path.name[:4]) for path in ROOT.glob(numbered))
    assert numbers == list(range(1, len(numbers) + 1))


def test_revisions_of_the_database_are_one_line() -> None:
    files = sorted((ROOT / "alembic" / "versions").glob("*.py"))
    numbers = [path.name[:4] for path in files]
    assert numbers == [f"{number:04}" for number in range(1, len(files) + 1)]
    for path, number, before in zip(files, numbers, [None, *numbers], strict=False):
        named = dict(
            re.findall(r'(?m)^(revision|down_revision) = (?:"(\w+)"|None)$', path.read_text())
        )
        assert named == {"revision": number, "down_revision": before or ""}, path.name


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_tests_that_a_document_names_are_there(page: Path) -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text())
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).is_file() or f"def {test}(" not in (ROOT / file).read_text()
    ]
    assert missing == []
