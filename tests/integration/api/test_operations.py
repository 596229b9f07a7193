"""Health, status and metrics of a server that stands on real stores."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from src.api.auth.principals import Role
from src.embedded import Servers
from tests.integration.api.begun import ROOM, begin
from tests.support.api import RunningServer
from tests.support.cluster_settings import eventually

REDIS_AWAY = {"redis": False, "postgres": True}

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


async def test_a_server_with_both_stores_is_ready(server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as nobody:
        answer = await nobody.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "tiers": {"redis": True, "postgres": True}}


async def test_a_server_without_redis_still_takes_requests(
    server: RunningServer, servers: Servers
) -> None:
    servers.kill_redis()
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as nobody:

        async def is_degraded() -> bool:
            answer = await nobody.get("/health/ready")
            assert answer.status_code == 200
            found: dict[str, bool] = answer.json()["tiers"]
            return answer.json()["status"] == "degraded" and found == REDIS_AWAY

        await eventually(is_degraded, what="the server says that it is degraded")
    servers.start_redis()


@pytest.mark.directly("a server tells of itself")
async def test_status_tells_what_the_server_holds(alone: RunningServer) -> None:
    async with alone.as_("root", Role.ADMIN) as root:
        await begin(root)
        status = (await root.get("/status")).json()

    assert status["url"] == alone.url
    assert status["conversations"]["owned"] == 1
    assert status["tiers"] == {"redis": True, "postgres": True}
    assert status["ladder"]["rung"] == "all"


@pytest.mark.directly("a server tells of itself")
async def test_rooms_tell_which_edit_of_a_bot_each_of_them_obeys(alone: RunningServer) -> None:
    bot = {"name": "Ada", "persona": "Knows the dates."}
    seen = []
    async with alone.as_("root", Role.ADMIN) as root:

        async def hosted() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await root.get("/status/rooms")).json()["rooms"]
            return found

        await root.post("/api/v1/bots", json={"id": "ada", **bot})
        await begin(root)
        await root.post(f"{ROOM}/commands", json={"type": "lifecycle", "action": "start"})
        for version in (1, 2):

            async def obeyed(version: int = version) -> bool:
                return any(one["bots"][0]["applied_version"] == version for one in await hosted())

            await root.post(f"{ROOM}/messages", json={"text": "Ada, when do we launch?"})
            await eventually(obeyed, what=f"version {version} is obeyed")
            seen += await hosted()
            await root.put("/api/v1/bots/ada", json={**bot, "persona": "Knows the rooms."})

    assert [(one["conversation_id"], one["team"]) for one in seen] == [("c-1", None)] * 2
    assert [one["bots"] for one in seen] == [[{"id": "ada", "applied_version": n}] for n in (1, 2)]


@pytest.mark.directly("a server tells of itself")
async def test_a_server_without_rooms_says_that_it_has_no_models(alone: RunningServer) -> None:
    async with alone.as_("root", Role.ADMIN) as root:
        report = (await root.get("/status/models")).json()
        server_id = (await root.get("/status")).json()["server_id"]
    assert (report["server_id"], report["capacity"], report["models"]) == (server_id, 0, [])


@pytest.mark.directly("a server counts for itself")
async def test_metrics_are_prometheus_text_with_our_names(alone: RunningServer) -> None:
    async with alone.as_("root", Role.ADMIN) as root:
        await begin(root)
        for _ in range(3):
            await root.get(ROOM)
        pages = [await root.get(path) for path in ("/metrics", "/api/metrics")]
        second = pages[1].text

    samples = {
        (sample.name, sample.labels.get("kind")): sample.value
        for family in text_string_to_metric_families(second)
        for sample in family.samples
    }
    assert all(name.startswith("swarmstate_") for name, _ in samples)
    assert samples["swarmstate_conversations_owned", None] == 1
    assert samples["swarmstate_log_events_total", None] == 1
    assert samples["swarmstate_http_hot_reads_total", None] == 3
    assert samples["swarmstate_l1_hits_total", "conversation"] >= 3


async def test_metrics_name_the_rung(server: RunningServer) -> None:
    async def on_the_highest() -> bool:
        page = (await root.get("/metrics")).text
        rungs = {
            sample.labels["rung"]: sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == "swarmstate_rung"
        }
        below = {"deaf", "without_l2", "without_l3", "without_both"}
        return rungs == {"all": 1} | dict.fromkeys(below, 0)

    async with server.as_("root", Role.ADMIN) as root:
        # A busy machine may keep a server from Redis for a while.
        await eventually(on_the_highest, 30)


@pytest.mark.directly("a server counts for itself")
async def test_everything_bounded_is_below_its_bound_and_in_the_table(
    alone: RunningServer,
) -> None:
    """The table of docs/operations.md has every buffer that a server shows, and no other."""
    async with alone.as_("root", Role.ADMIN) as root:
        await begin(root)
        await root.get(ROOM)
        await root.get("/api/v1/conversations/nowhere")
        page = (await root.get("/metrics")).text

    found: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if "buffer" in sample.labels:
                found[sample.name][sample.labels["buffer"], sample.labels["kind"]] = sample.value
    sizes, bounds = found["swarmstate_buffer_size"], found["swarmstate_buffer_bound"]
    assert sizes["l1_entries", "conversation"] == 1
    assert sizes["missing", "conversation"] == 1
    assert {name for name, size in sizes.items() if size > bounds[name]} == set()
    assert found["swarmstate_buffer_left_out_total"].keys() == sizes.keys()
    table = OPERATIONS.read_text().partition("## What is bounded")[2].partition("\n## ")[0]
    # Only servers that host rooms take calls, load models and record.
    shown = {name for name, _ in sizes} | {"calls", "models", "recordings"}
    assert set(re.findall(r"(?m)^\| `(\w+)` \|", table)) == shown
