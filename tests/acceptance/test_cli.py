"""The command line against real servers, ports and signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from src.demo.processes import free_ports
from src.embedded import open_servers
from tests.support.commands import (
    PATIENCE_S,
    curl,
    descendants,
    pair_of_ports,
    run,
    running,
    until,
)
from tests.support.embedding import alive, query

SECRET = "s" * 40
AWAY = "127.0.0.1:1"


def request(method: str, url: str, token: str, body: object = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    asked = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
        told: dict[str, Any] = json.loads(answer.read())
    return told


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/live", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def settings_of(database_url: str, redis_url: str) -> dict[str, str]:
    return {
        "SWARMSTATE_DATABASE_URL": database_url,
        "SWARMSTATE_REDIS_URL": redis_url,
        "SWARMSTATE_API_JWT_SECRET": SECRET,
    }


# -- what cannot work is said in one message -----------------------------------------------------


def test_serve_names_every_setting_that_is_missing() -> None:
    ran = run("serve")
    assert ran.returncode == 1
    assert "SWARMSTATE_DATABASE_URL is not set" in ran.stderr
    assert "SWARMSTATE_API_JWT_SECRET is not set" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_does_not_answer_is_named_without_its_password(command: str) -> None:
    url = f"postgresql://u:geheim@{AWAY}/x"
    ran = run(command, **settings_of(url, "redis://127.0.0.1:1"), SWARMSTATE_API_PORT="0")
    assert ran.returncode == 1
    assert f"postgresql://u:***@{AWAY}/x" in ran.stderr
    assert "SWARMSTATE_DATABASE_URL" in ran.stderr
    assert "geheim" not in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_redis_that_does_not_answer_is_named_without_its_password(database_url: str) -> None:
    settings = settings_of(database_url, f"redis://:geheim@{AWAY}/0")
    ran = run("serve", **settings, SWARMSTATE_API_PORT="0")
    assert ran.returncode == 1
    assert f"redis://:***@{AWAY}/0" in ran.stderr
    assert "SWARMSTATE_REDIS_URL" in ran.stderr
    assert "geheim" not in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_port_that_is_taken_is_named_and_nothing_is_started(tmp_path: Path, command: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        settings = settings_of(f"postgresql://u:p@{AWAY}/x", f"redis://{AWAY}")
        ran = run(command, "--port", port, **settings, SWARMSTATE_DATA_DIR=str(tmp_path / "data"))
    assert ran.returncode == 1
    assert f"port {port}" in ran.stderr
    assert "Address already in use" in ran.stderr
    assert not (tmp_path / "data").exists()


# -- a server of one's own -----------------------------------------------------------------------


def test_sigterm_drains_a_server(tmp_path: Path, database_url: str, redis_url: str) -> None:
    port = str(free_ports(1)[0])
    settings = settings_of(database_url, redis_url)
    url = f"http://127.0.0.1:{port}"
    with running(tmp_path, "serve", "--port", port, **settings) as server:
        server.says("server.listening")
        token = run("token", "--role", "admin", **settings).stdout.strip()
        people = [{"id": "zoe", "kind": "person", "name": "Zoe"}]
        conversations = f"{url}/api/v1/conversations"
        request("POST", conversations, token, {"id": "c", "participants": people})
        said = {"author": {"kind": "person", "id": "zoe"}, "text": "Not flushed yet."}
        request("POST", f"{conversations}/c/messages", token, said)
        assert server.stop(signal.SIGTERM) == 0
        assert "server.left" in server.output
    flushed = "SELECT s.seq = c.seq AND c.owner_id IS NULL FROM conversations c "
    flushed += "JOIN snapshots s ON s.conversation_id = c.id"
    assert query(database_url, flushed) is True
    assert query(database_url, "SELECT count(*) FROM servers WHERE dead_at IS NULL") == 0


def test_several_servers_are_kept_running_and_sigterm_drains_all(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    port = pair_of_ports()
    settings = settings_of(database_url, redis_url)
    urls = [f"http://127.0.0.1:{port + place}" for place in range(2)]
    command = ("serve", "--servers", "2", "--port", str(port))
    with running(tmp_path, *command, **settings) as supervisor:
        supervisor.says("serve.ready")
        assert all(answers(url) for url in urls)
        servers = descendants(supervisor.process.pid)
        assert len(servers) == 2
        os.kill(min(servers), signal.SIGKILL)
        supervisor.says("server.restarted")
        assert all(answers(url) for url in urls)
        assert len(descendants(supervisor.process.pid)) == 2
        token = run("token", "--role", "admin", **settings).stdout.strip()
        people = [{"id": "zoe", "kind": "person", "name": "Zoe"}]
        begun = {"id": "c", "participants": people}
        request("POST", f"{urls[0]}/api/v1/conversations", token, begun)
        assert supervisor.stop(signal.SIGTERM) == 0
    assert '"cut": 0' in supervisor.output
    assert query(database_url, "SELECT count(*) FROM conversations WHERE owner_id <> ''") == 0
    assert not any(answers(url) for url in urls)


def test_several_servers_end_with_who_started_them(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    command = ("serve", "--servers", "1", "--port", str(free_ports(1)[0]))
    settings = settings_of(database_url, redis_url)
    with running(tmp_path, *command, **settings) as supervisor:
        supervisor.says("serve.ready")
        servers = descendants(supervisor.process.pid)
        supervisor.stop(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in servers), "no server is left")


@pytest.mark.parametrize("servers", ["0", "6:2", "many"])
def test_number_of_servers_that_is_none_is_named(servers: str) -> None:
    settings = settings_of(f"postgresql://u:p@{AWAY}/x", f"redis://{AWAY}")
    ran = run("serve", "--servers", servers, **settings)
    assert ran.returncode == 2
    assert "--servers" in ran.stderr


def test_migrate_may_be_repeated(database_url: str, redis_url: str) -> None:
    ran = run("migrate", **settings_of(database_url, redis_url))
    assert (ran.returncode, ran.stdout.strip()) == (0, "the database is up to date")


def test_doctor_fails_a_database_that_forgets(database_url: str, redis_url: str) -> None:
    """The test's own servers run without fsync, for speed."""
    ran = run("doctor", **settings_of(database_url, redis_url))
    rows = {line.split("│")[2].strip(): line for line in ran.stdout.splitlines() if "│" in line}
    if query(database_url, "SHOW fsync") == "off":
        assert ran.returncode == 1
        assert "fail" in rows["fsync"]
    assert "ok" in rows["isolation"]
    assert "ok" in rows["schema"]
    assert "ok" in rows["eviction policy"]


# -- a cluster of one's own ----------------------------------------------------------------------


def test_dev_keeps_servers_running_and_ctrl_c_loses_nothing(tmp_path: Path) -> None:
    port = pair_of_ports()
    a, b = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    with running(tmp_path, "dev", "--no-rooms", "--port", str(port)) as dev:
        dev.says("Begin a conversation")
        data = tmp_path / ".swarmstate"
        token = (data / "token").read_text().strip()
        assert token in dev.output
        line = dev.output[dev.output.index("curl ") :].partition("\n\n")[0]
        assert curl(line, tmp_path)["id"] == "hello"
        say = {"author": {"kind": "system", "id": "test"}, "text": "Logged."}
        told = request("POST", f"{b}/api/v1/conversations/hello/messages", token, say)
        assert told["durability"] == "logged"
        servers = [
            pid for pid, line in descendants(dev.process.pid).items() if "demo.server" in line
        ]
        assert len(servers) == 2
        everything = descendants(dev.process.pid)

        os.kill(servers[0], signal.SIGKILL)
        dev.says("answers again")
        until(lambda: answers(a) and answers(b), "both servers answer")
        everything |= descendants(dev.process.pid)

        assert dev.stop(signal.SIGINT) == 0
        assert "drained" in dev.output
    until(lambda: not any(alive(pid) for pid in everything), "no process is left")
    assert not answers(a)
    ran = run("doctor", "--data-dir", str(data))
    assert ran.returncode == 0, ran.stdout
    with open_servers(data) as stores:
        logged = "SELECT count(*) FROM events_readable WHERE event #>> '{message,text}' = 'Logged.'"
        assert query(stores.database_url, logged) == 1
        dirty = "SELECT count(*) FROM conversations c JOIN snapshots s ON s.conversation_id = c.id"
        assert query(stores.database_url, dirty + " WHERE s.seq < c.seq") == 0


def test_servers_end_with_a_dev_that_was_killed(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with running(tmp_path, "dev", "--no-rooms", "--servers", "1", "--port", str(port)) as dev:
        dev.says("Begin a conversation")
        everything = descendants(dev.process.pid)
        assert any("demo.server" in line for line in everything.values())
        dev.stop(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in everything), "no process is left")
