"""A team edited on one server while another decides commands under it, as fast as both can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, NamedTuple

import msgspec
import pytest

from src.invalidation.publisher import Announcer
from src.state.errors import SharedTierUnavailable
from src.state.models import Announcement
from src.state.protocols import Pulled
from src.state.tiers.postgres_ownership import PostgresRegistry
from src.swarm.errors import RulesUnknown
from src.swarm.shapes.commands import Command, Create, NewParticipant, PatchConfig, PostMessage
from src.swarm.shapes.config import Config
from src.swarm.shapes.free_json import write
from src.swarm.shapes.work import FinishToolCall, RequestToolCall
from tests.support.cluster_runtimes import ADA, SHORT, Member, open_members

PULLS: dict[str, Any] = {name: SHORT[name] for name in ("pull_interval", "pull_deadline")}
"""Beats are the release's: a machine that is late with them ends no ownership here."""
PROMISED_S = PULLS["pull_deadline"] + 0.5
"""The two seconds of the document, with the deadlines of this test."""
ROOMS = 8
EDITS_S = 4.0
BASE_S = 10_000
"""The time-out of approvals that the first edit sets; each further one sets a second more."""

Sabotage = Callable[[pytest.MonkeyPatch], None]


class Asked(NamedTuple):
    """A logged command: when it was submitted, and which edit it was decided under."""

    at: float
    edit: int


def crew(edit: int) -> bytes:
    scheduling = {"requires_approval": "all", "approval_timeout_s": BASE_S + edit}
    defaults = {"scheduling": scheduling, "limits": {"tool_calls": 1000}}
    return msgspec.json.encode({"name": "Crew", "defaults": defaults})


def hear_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is disturbed."""


def hear_by_pulls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no edit of a team be announced: the outbox alone tells of it."""
    publish = Announcer.publish

    async def swallow(self: Announcer, changes: Sequence[Announcement]) -> None:
        if any(change.kind == "team" for change in changes):
            raise SharedTierUnavailable("lost here")
        await publish(self, changes)

    monkeypatch.setattr(Announcer, "publish", swallow)


def hear_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every pull take so long that it proves nothing when it is there."""
    hear_by_pulls(monkeypatch)
    pull = PostgresRegistry.pull

    async def dawdle(self: PostgresRegistry, outbox_after: int) -> Pulled:
        await asyncio.sleep(1.5 * SHORT["pull_deadline"])
        return await pull(self, outbox_after)

    monkeypatch.setattr(PostgresRegistry, "pull", dawdle)


async def submit(
    member: Member, room: str, command: Command, key: str, by: str = "ada", *, create: bool = False
) -> float:
    """Submit a command until it is taken; return when the request began that was.

    What is refused because the rules are not known now is decided under none.
    """
    while True:
        at = monotonic()
        try:
            await member.service.submit_here(room, command, key=key, actor=by, create=create)
        except RulesUnknown:
            continue
        return at


@asynccontextmanager
async def rooms(database_url: str, redis_url: str) -> AsyncIterator[tuple[Member, Member]]:
    """Two servers, of which the first owns conversations of the team."""
    async with open_members(database_url, redis_url, **PULLS) as [a, b]:
        await a.service.configs.create("team", "crew", crew(0), "ada")
        people = (NewParticipant("ada", "person", "Ada"), NewParticipant("scout", "bot", "Scout"))
        for room in range(ROOMS):
            new = Create(f"c-{room}", config=Config(team_id="crew"), participants=people)
            await submit(a, new.id, new, "create", create=True)
        yield a, b


async def edit(member: Member) -> list[float]:
    """Edit the team again and again; return when each edit was acknowledged."""
    acked = [monotonic()]
    end = acked[0] + EDITS_S
    while acked[-1] < end:
        await member.service.configs.replace("team", "crew", crew(len(acked)), "ada")
        acked.append(monotonic())
    return acked


async def ask(member: Member, room: str, edited: asyncio.Task[list[float]]) -> list[Asked]:
    """Ask for calls in one room as long as there are edits, and tell what they were decided under.

    Between two calls the room forgets the team for a moment, so that rules and state race as well.
    """
    asked: list[Asked] = []
    while not edited.done():
        key = f"{room} {len(asked)}"
        leaving = submit(member, room, PatchConfig(write({"team_id": None})), f"{key} leave")
        coming = submit(member, room, PatchConfig(write({"team_id": "crew"})), f"{key} come")
        calling = submit(member, room, RequestToolCall("pay", "scout", id=key), key, "scout")
        _, _, at = await asyncio.gather(leaving, coming, calling)
        state = (await member.read(room)).entry.state
        (call,) = (one for one in state.pending_tool_calls if one.id == key)
        assert call.status == "pending_approval"
        assert call.due_at is not None
        timeout_s = (call.due_at - call.requested_at).total_seconds()
        asked.append(Asked(at, round(timeout_s) - BASE_S))
        await submit(member, room, FinishToolCall(key, "cancelled"), f"{key} finish")
        # A person's turn ends the response, whose calls are limited too.
        await submit(member, room, PostMessage(ADA, "Go on."), f"{key} go on")
    return asked


@pytest.mark.parametrize("sabotage", [hear_at_once, hear_by_pulls, hear_late])
async def test_no_command_is_decided_under_what_was_replaced_longer_ago_than_promised(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, sabotage: Sabotage
) -> None:
    async with rooms(database_url, redis_url) as (a, b):
        sabotage(monkeypatch)
        async with asyncio.TaskGroup() as tasks:
            editing = tasks.create_task(edit(b))
            asking = [tasks.create_task(ask(a, f"c-{n}", editing)) for n in range(ROOMS)]
        monkeypatch.undo()
    acked = editing.result()
    commands = [one for task in asking for one in task.result()]
    late = [
        one
        for one in commands
        if one.edit + 1 < len(acked) and acked[one.edit + 1] <= one.at - PROMISED_S
    ]
    assert late == []
    # It was a race, and it lasted longer than the promise.
    assert len({one.edit for one in commands}) > 3
    assert max(one.at for one in commands) - acked[1] > PROMISED_S
