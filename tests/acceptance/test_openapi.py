"""The OpenAPI document keeps what it says to every role: schemathesis asks and finds nothing wrong.

What it names is repaired where the operation describes itself: the schema says the rule (a
pattern, a bound, a required field), `problems()` lists the status, the example is one that works.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from src.api.auth.principals import Role
from tests.support.api import RunningServer, token
from tests.support.documented import documented_server, unreached
from tests.support.exploring import PHASES, explore
from tests.support.stage import Tell

# The server in this process throws dice for its jitter while the requests are drawn in a thread:
# hypothesis sees that somebody did, and takes the strategies for it.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")

_SEED = 4
_COVERED = "/(bots|webhooks)$"
"""A configs' collection and another one: `make prove` has all of them, with other seeds."""


@pytest.fixture
async def server(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with documented_server(database_url, redis_url, tmp_path) as one:
        yield one


@pytest.mark.parametrize("role", Role)
async def test_requests_made_from_the_document_meet_what_it_says(
    role: Role, server: RunningServer, tell: Tell
) -> None:
    found = await asyncio.to_thread(
        explore,
        server.app.openapi(),
        server.url,
        token("zoe", role),
        maker=None if role is Role.ADMIN else token("ann", Role.ADMIN),
        leaver=token("yan", role),
        seed=_SEED,
        examples=1,
        phases=PHASES if role is Role.ADMIN else ("examples", "fuzzing", "stateful"),
        covered=_COVERED,
    )
    tell(str(found))
    assert found.failures == {}
    if role is Role.ADMIN:
        assert unreached(found) == []


async def test_without_a_token_only_what_the_document_calls_public_answers(
    server: RunningServer,
) -> None:
    wrong = []
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        for path, operations in server.app.openapi()["paths"].items():
            for method, operation in operations.items():
                answer = await client.request(method, path.replace("{", "").replace("}", ""))
                if (answer.status_code == 401) != ("security" in operation):
                    wrong.append(f"{method.upper()} {path}: {answer.status_code}")
    assert wrong == []
