"""deploy/compose.yaml: the specification's schema, and what our own parts need of each other."""

import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from src.api.settings import ApiSettings
from src.api.strictness import check_strict
from src.state.settings import StateSettings
from src.swarm.settings import RuntimeSettings, SwarmSettings
from tests.unit.deploy.names import FIELDS, ROOT, names_in

DEPLOY = ROOT / "deploy"
FILE = DEPLOY / "compose.yaml"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(FILE)
SERVICES: dict[str, Any] = COMPOSE["services"]
SERVERS = {name: one for name, one in SERVICES.items() if name.startswith("server-")}
OURS = {name: one for name, one in SERVICES.items() if "build" in one}
THEIRS = {name: one for name, one in SERVICES.items() if "build" not in one}
EXAMPLE = dict(
    line.split("=", 1)
    for line in (DEPLOY / ".env.example").read_text().splitlines()
    if line and not line.startswith("#")
)
_REFERENCE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


def filled(text: str) -> str:
    """Fill in what compose would take from a filled-in .env."""
    given = {name: value or "5e" * 32 for name, value in EXAMPLE.items()}
    return _REFERENCE.sub(lambda found: given[found[1]], text)


def seconds(text: str) -> float:
    assert re.fullmatch(r"\d+s", text), text
    return float(text[:-1])


def check_schema(file: Path) -> subprocess.CompletedProcess[str]:
    checker = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [checker, "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_file_keeps_to_the_compose_specification() -> None:
    done = check_schema(FILE)
    assert (done.returncode, done.stdout.strip()) == (0, "ok -- validation done"), done.stderr


def test_schema_check_finds_what_is_wrong(tmp_path: Path) -> None:
    broken = tmp_path / "compose.yaml"
    broken.write_text(FILE.read_text().replace("stop_grace_period", "stop_grace"))
    assert check_schema(broken).returncode == 1


def test_there_are_two_servers_one_migration_and_their_stores() -> None:
    expected = {"server-1", "server-2", "migrate", "nginx", "postgres", "redis"}
    assert set(SERVICES) == expected


@pytest.mark.parametrize("name", OURS)
def test_every_setting_given_exists(name: str) -> None:
    assert names_in("\n".join(OURS[name]["environment"])) - set(FIELDS) == set()


@pytest.mark.parametrize("name", SERVERS)
def test_server_can_read_its_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in SERVERS[name]["environment"].items():
        monkeypatch.setenv(variable, filled(value))
    assert "@postgres:5432/" in StateSettings().database_url.get_secret_value()
    assert SwarmSettings().server_url == f"http://{name}:8080"
    assert ApiSettings().profile == "production"


@pytest.mark.parametrize("name", SERVERS)
def test_server_is_strict_enough_for_production(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {one: kept or secrets.token_hex(32) for one, kept in EXAMPLE.items()}
    for variable, value in SERVERS[name]["environment"].items():
        monkeypatch.setenv(variable, _REFERENCE.sub(lambda found: given[found[1]], value))

    check_strict(ApiSettings(), RuntimeSettings())


@pytest.mark.parametrize("name", OURS)
def test_nothing_starts_on_a_database_that_is_behind(name: str) -> None:
    needs = OURS[name]["depends_on"]
    assert needs["postgres"] == {"condition": "service_healthy"}
    if name in SERVERS:
        assert needs["migrate"] == {"condition": "service_completed_successfully"}
        assert needs["redis"] == {"condition": "service_healthy"}


def test_nginx_waits_for_all_servers_and_follows_their_replacement() -> None:
    expected = {"condition": "service_healthy", "restart": True}
    assert SERVICES["nginx"]["depends_on"] == dict.fromkeys(SERVERS, expected)


@pytest.mark.parametrize("name", THEIRS)
def test_foreign_service_is_pinned_and_watched(name: str) -> None:
    service = THEIRS[name]
    assert re.fullmatch(r"[a-z]+:\d+(\.\d+)*-bookworm", service["image"])
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_change_nothing_of_themselves(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_only_nginx_is_reached_from_outside_and_only_locally_by_default() -> None:
    assert [name for name, one in SERVICES.items() if "ports" in one] == ["nginx"]
    assert EXAMPLE["HTTP_BIND"] == "127.0.0.1"
    assert SERVICES["nginx"]["ports"] == ["${HTTP_BIND:-127.0.0.1}:${HTTP_PORT:-8080}:8080"]


def test_stores_have_no_way_out() -> None:
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    assert SERVICES["postgres"]["networks"] == SERVICES["redis"]["networks"] == ["stores"]


def test_no_secret_has_a_value_and_none_may_stay_empty() -> None:
    references = _REFERENCE.findall(FILE.read_text())
    required = {name for name, kind, _ in references if kind == "?"}
    assert required == {name for name in EXAMPLE if not name.startswith("HTTP_")}
    assert {EXAMPLE[name] for name in required} == {""}
    assert {name for name, _, _ in references} == set(EXAMPLE)


def test_filled_in_secrets_are_not_committed() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_database_is_new_enough_and_durable() -> None:
    service = SERVICES["postgres"]
    assert int(re.findall(r"\d+", service["image"])[0]) >= 15
    given = set(service["command"])
    assert {"synchronous_commit=on", "fsync=on", "full_page_writes=on"} <= given
    assert service["volumes"] == ["postgres:/var/lib/postgresql/data"]


def test_database_has_connections_for_the_servers_and_an_operator() -> None:
    # Each server: the pool, SQLAlchemy's with its overflow, four lines and one that listens.
    size = StateSettings.model_fields["pool_size"].default
    each = size + 3 * size + 4 + 1
    allowed = next(one for one in SERVICES["postgres"]["command"] if "max_connections" in one)
    assert len(SERVERS) * each + 20 <= int(allowed.split("=")[1])


def test_server_has_time_to_drain() -> None:
    assert {seconds(one["stop_grace_period"]) for one in SERVERS.values()} == {30.0}


def test_mounted_files_exist() -> None:
    mounted = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if volume.startswith(".")
    ]
    assert mounted == ["./nginx.conf", "./redis.conf"]
    assert [path for path in mounted if not (DEPLOY / path).is_file()] == []


def test_named_volumes_are_declared() -> None:
    named = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if not volume.startswith(".")
    }
    assert named == set(COMPOSE["volumes"])
