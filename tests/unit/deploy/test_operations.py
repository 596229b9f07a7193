"""docs/operations.md: every command, metric and log event it names exists, and its numbers hold."""

import re
from datetime import timedelta
from typing import Any, get_type_hints

from ruamel.yaml import YAML

from src.api.app import create_app
from src.api.auth.principals import RIGHTS, Right
from src.api.metrics import BUFFERS, LADDER, SERVER, STORES, ServerMetrics
from src.api.middleware import Traffic
from src.api.settings import ApiSettings
from src.state.durations import parse_duration
from src.state.settings import StateSettings
from src.state.tiers.connections import Connections
from src.state.tiers.postgres import Line
from tests.unit.deploy.names import ROOT

TEXT = (ROOT / "docs" / "operations.md").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "deploy" / "compose.yaml")


def metric_names() -> set[str]:
    counted = {
        f"swarmstate_{named.name}{'_total' if named.counts_up else ''}"
        for named in (*SERVER, *STORES, *LADDER, *BUFFERS)
    }
    traffic = Traffic()
    traffic.count("GET", 200, 0.1)
    collected = {
        sample.name
        for metric in ServerMetrics(traffic, lambda: None).collect()
        for sample in metric.samples
    }
    return counted | collected


def test_metrics_to_alert_on_exist() -> None:
    named = set(re.findall(r"swarmstate_[a-z_]+[a-z]", TEXT))
    assert named
    assert named - metric_names() == set()


def test_log_events_are_written_somewhere() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    events = set(re.findall(r"`([a-z0-9]+\.[a-z_]+)`", TEXT)) - {"requirements.txt"}
    assert events
    assert {event for event in events if f'"{event}"' not in sources} == set()


def test_routes_of_health_exist() -> None:
    app = create_app(ApiSettings(jwt_secret="5e" * 32))
    paths = set(app.openapi()["paths"])
    routes = set(re.findall(r"`(?:GET )?(/(?:health/\w+|status|metrics|api/metrics))`", TEXT))
    assert len(routes) == 5
    assert routes - paths == set()


def test_roles_named_for_operations_are_those_that_may() -> None:
    allowed = {role.value for role, rights in RIGHTS.items() if Right.READ_OPERATIONS in rights}
    assert "the role admin, service or viewer" in TEXT
    assert allowed == {"admin", "service", "viewer"}


def test_services_named_in_commands_exist() -> None:
    named = set(re.findall(r"(?:exec(?: -T)?|run --rm|stop) ([a-z0-9-]+)", TEXT))
    assert named
    assert named - set(COMPOSE["services"]) == set()


def test_token_of_a_scraper_can_be_made() -> None:
    (expires,) = re.findall(r"--expires (\w+)", TEXT)
    assert parse_duration(expires) == timedelta(days=365)


def test_connections_of_a_server_are_counted_right() -> None:
    size = StateSettings.model_fields["pool_size"].default
    lines = sum(kind is Line for kind in get_type_hints(Connections).values())
    # Two pools, the second with twice its size in overflow, the lines, and one that listens.
    assert f"| {4 * size + lines + 1} per server" in TEXT


def test_links_lead_somewhere() -> None:
    for page in ("operations", "settings", "glossary"):
        text = (ROOT / "docs" / f"{page}.md").read_text()
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (ROOT / "docs" / target).is_file(), target
