"""deploy/Dockerfile, by its text, and its health check by running it."""

import ast
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import NamedTuple

import pytest

from src.embedded.binaries import POSTGRES_WHEEL, VALKEY_WHEEL
from tests.unit.deploy.names import FIELDS, ROOT, names_in

TEXT = (ROOT / "deploy" / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


class Instruction(NamedTuple):
    word: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    lines = [" ".join(line.split()) for line in joined.splitlines() if line.strip()]
    return [Instruction(*line.split(" ", 1)) for line in lines]


FILE = instructions(TEXT)
BASES = [one for one in FILE if one.word == "FROM"]
FINAL = FILE[FILE.index(BASES[-1]) :]
BUILD = FILE[: FILE.index(BASES[-1])]


def rests(word: str, part: list[Instruction]) -> list[str]:
    return [one.rest for one in part if one.word == word]


def test_base_is_one_pinned_slim_python_that_the_project_supports() -> None:
    bases = {base.rest.split(" ")[0] for base in BASES}
    assert len(bases) == 1
    found = re.fullmatch(r"python:(\d+)\.(\d+)-slim-bookworm", bases.pop())
    assert found is not None
    assert PROJECT["requires-python"] == ">=3.11"
    assert (int(found[1]), int(found[2])) >= (3, 11)


def test_what_is_copied_exists_and_reaches_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    sources = [
        source
        for rest in rests("COPY", FILE)
        if not rest.startswith("--from=")
        for source in rest.split(" ")[:-1]
    ]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [
        source for source in sources if not any(fnmatch(source, pattern) for pattern in let_in)
    ] == []


def test_no_secret_and_no_data_reaches_the_build() -> None:
    let_in = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    assert let_in == ["alembic", "pyproject.toml", "requirements*.txt", "src"]


def test_every_requirement_is_installed_by_hash_and_none_of_development() -> None:
    installs = [
        command
        for run in rests("RUN", FILE)
        for command in run.split("&&")
        if "pip install" in command
    ]
    files = [name for command in installs for name in re.findall(r"-r (\S+)", command)]
    assert files == ["requirements-uv.txt", "requirements.txt"]
    hashed = [command for command in installs if "--require-hashes" in command]
    (project,) = set(installs) - set(hashed)
    assert "--no-deps" in project
    assert "--build-constraints requirements-dev.txt" in project


def test_embedded_servers_stay_out_and_nothing_imports_them() -> None:
    wheels = {POSTGRES_WHEEL.replace("_", "-"), VALKEY_WHEEL}
    (excluded,) = re.findall(r"printf '(\S+)' >/tmp/embedded.txt", TEXT)
    assert set(excluded.split("\\n")) - {""} == wheels
    imported = {
        name.split(".")[0]
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported & {POSTGRES_WHEEL, VALKEY_WHEEL} == set()


def test_image_runs_as_a_user_without_rights_and_drains_when_stopped() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", rests("USER", FINAL)[-1])
    assert FINAL.index(Instruction("USER", rests("USER", FINAL)[-1])) > max(
        index for index, one in enumerate(FINAL) if one.word in {"RUN", "COPY"}
    )
    assert rests("STOPSIGNAL", FINAL) == ["SIGTERM"]


def test_image_serves_by_default() -> None:
    assert [json.loads(rest) for rest in rests("ENTRYPOINT", FINAL)] == [["swarmstate"]]
    assert [json.loads(rest) for rest in rests("CMD", FINAL)] == [["serve"]]
    assert "swarmstate" in PROJECT["scripts"]


def test_migrations_lie_beside_the_package() -> None:
    assert "--from=build /app/src /app/src" in rests("COPY", FINAL)
    assert "--from=build /app/alembic /app/alembic" in rests("COPY", FINAL)
    assert rests("WORKDIR", BUILD) == rests("WORKDIR", FINAL) == ["/app"]


def test_settings_of_the_image_exist() -> None:
    assert names_in(TEXT) - set(FIELDS) == set()


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert self.path == "/health/ready"
        self.send_response(self.server.status)  # type: ignore[attr-defined] # Set below.
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(status: int) -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        server.status = status  # type: ignore[attr-defined] # Read by the handler.
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def health_check(port: int) -> int:
    (check,) = rests("HEALTHCHECK", FINAL)
    command = json.loads(check.split(" CMD ")[1])
    assert command[0] == "python"
    environment = {**os.environ, "SWARMSTATE_API_PORT": str(port)}
    done = subprocess.run(
        [sys.executable, *command[1:]], env=environment, capture_output=True, check=False
    )
    return done.returncode


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1)])
def test_health_check_follows_readiness(status: int, expected: int) -> None:
    with answering(status) as port:
        assert health_check(port) == expected


def test_health_check_fails_where_nobody_listens() -> None:
    with answering(200) as port:
        pass
    assert health_check(port) == 1
