"""What waits in the state until some time is done on its owner, whoever that is by then."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta

import pytest

from src.swarm.dialogue.approvals import ACTOR
from src.swarm.rules.tool_calls import CLOCKS_AGREE_S
from src.swarm.shapes.commands import ChangeStatus
from src.swarm.shapes.config import Config, Scheduling
from src.swarm.shapes.events import BatonPassed, ToolCallDecided
from src.swarm.shapes.models import PendingToolCall
from src.swarm.shapes.work import DecideToolCall, RequestToolCall
from tests.support.clock import advance, virtual_time
from tests.support.rooms import SCOUT, TUTOR, Swarm, SwarmServer
from tests.unit.swarm.given import raw

CAREFUL = Config(scheduling=Scheduling(requires_approval="all", approval_timeout_s=30))


async def asked(server: SwarmServer, config: Config = CAREFUL) -> None:
    """Make the conversation, with a call that waits."""
    await server.begin(SCOUT, config=config)
    await server.submit(RequestToolCall("pay", "scout", id="call"), key="ask")


async def call(server: SwarmServer) -> PendingToolCall:
    (found,) = (await server.service.read("c")).entry.state.pending_tool_calls
    return found


@virtual_time
async def test_call_that_nobody_decides_is_rejected_when_its_time_is_over() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await asked(a)
        await advance(29)
        assert (await call(a)).status == "pending_approval"
        await advance(2)
        rejected = await call(a)
    assert (rejected.status, rejected.decided_by) == ("rejected_by_timeout", ACTOR)
    assert rejected.reason


@virtual_time
async def test_call_that_was_decided_in_time_is_left_alone() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await asked(a)
        await advance(20)
        await b.submit(DecideToolCall("call", "approve"), key="approve")
        await advance(60)
        assert (await call(a)).status == "approved"
        assert a.approvals.buffers()["timed_tool_calls"].size == 0
    assert sum(isinstance(fact, ToolCallDecided) for fact in swarm.facts()) == 1


@virtual_time
async def test_each_call_has_its_own_time() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await asked(a)
        await advance(10)
        await a.submit(RequestToolCall("pay", "scout", id="later"), key="later")
        await advance(21)
        state = (await a.service.read("c")).entry.state
        assert [one.status for one in state.pending_tool_calls] == [
            "rejected_by_timeout",
            "pending_approval",
        ]
        await advance(10)
        state = (await a.service.read("c")).entry.state
        assert state.pending_tool_calls[1].status == "rejected_by_timeout"


@virtual_time
async def test_conversation_that_ended_rejects_nothing_any_more() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await asked(a)
        await a.submit(ChangeStatus("complete"), key="end")
        await advance(60)
    assert not any(isinstance(fact, ToolCallDecided) for fact in swarm.facts())


@virtual_time
async def test_call_without_an_end_waits_for_ever() -> None:
    swarm = Swarm()
    patient = Scheduling(
        requires_approval="all", approval_timeout_s=1, auto_reject_on_timeout=False
    )
    async with swarm.open("a") as [a]:
        await asked(a, Config(scheduling=patient))
        await advance(300)
        assert (await call(a)).status == "pending_approval"


@virtual_time
async def test_owner_does_not_give_up_a_conversation_whose_call_waits() -> None:
    swarm = Swarm(idle_release=timedelta(seconds=10))
    async with swarm.open("a") as [a]:
        await asked(a)
        await a.submit(ChangeStatus("stop"), key="stop")
        await advance(25)
        assert a.state.notebooks.holdings.ids() == ["c"]
        await advance(30)
        assert (await call(a)).status == "rejected_by_timeout"
        assert a.state.notebooks.holdings.ids() == []


@virtual_time
async def test_server_that_takes_over_from_a_dead_one_rejects_it_when_it_is_due() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await asked(a)
        await a.submit(ChangeStatus("stop"), key="stop")
        await advance(10)
        a.freeze()
        await advance(19.5)
        assert (await call(b)).status == "pending_approval"
        await advance(CLOCKS_AGREE_S + 1)
        assert (await call(b)).status == "rejected_by_timeout"
        assert b.state.notebooks.holdings.ids() == ["c"]
    assert sum(isinstance(fact, ToolCallDecided) for fact in swarm.facts()) == 1


@virtual_time
async def test_call_is_due_when_it_is_however_often_its_owner_dies() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b", "c") as [a, b, c]:
        await asked(a)
        await a.submit(ChangeStatus("stop"), key="stop")
        a.freeze()
        await advance(12)
        first, second = (b, c) if b.state.notebooks.holdings.ids() else (c, b)
        assert first.state.notebooks.holdings.ids() == ["c"]
        first.freeze()
        await advance(17.5)
        assert (await call(second)).status == "pending_approval"
        await advance(CLOCKS_AGREE_S + 1)
        assert (await call(second)).status == "rejected_by_timeout"


@pytest.mark.parametrize(
    ("ahead_s", "late_s"),
    [(CLOCKS_AGREE_S - 0.1, 0.1), (1 - CLOCKS_AGREE_S, 2 * CLOCKS_AGREE_S - 1), (-3600, 20)],
    ids=["ahead", "behind", "an hour behind"],
)
@virtual_time
async def test_new_owner_is_never_early_and_late_by_no_more_than_its_clock(
    ahead_s: float, late_s: float
) -> None:
    swarm = Swarm(ahead_s={"b": ahead_s})
    async with swarm.open("a", "b") as [a, b]:
        await asked(a)
        await a.submit(ChangeStatus("stop"), key="stop")
        a.freeze()
        await advance(29.9)
        assert (await call(b)).status == "pending_approval"
        await advance(late_s + 1)
        assert (await call(b)).status == "rejected_by_timeout"


@virtual_time
async def test_call_outlives_a_stop_of_the_only_server() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await asked(a)
        await a.submit(ChangeStatus("stop"), key="stop")
        await a.state.notebooks.drain()
        await a.state.membership.leave()
    await advance(5)
    async with swarm.open("b") as servers:
        await advance(45)
        assert (await call(servers[-1])).status == "rejected_by_timeout"


@virtual_time
async def test_rejection_waits_for_a_database_that_is_away() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await asked(a)
        await advance(25)
        a.state.log_link.up = False
        await advance(30)
        a.state.log_link.up = True
        await advance(30)
        assert (await call(a)).status == "rejected_by_timeout"


def passing(server: SwarmServer, to: str) -> Awaitable[object]:
    """Ask for a call of a built-in tool."""
    asked = RequestToolCall("pass_baton", "scout", raw({"to": to}), "call")
    return server.submit(asked, key="ask")


@virtual_time
async def test_built_in_tool_runs_on_the_owner_once_it_is_approved() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT, TUTOR, config=CAREFUL)
        await passing(a, "tutor")
        await advance(1)
        assert (await a.service.read("c")).entry.state.baton is None
        await b.submit(DecideToolCall("call", "approve"), key="approve")
        await advance(3)
        state = (await a.service.read("c")).entry.state
        assert state.baton is not None
        assert (state.baton.holder, state.baton.passed_by) == ("tutor", "scout")
        assert (await call(a)).status == "succeeded"
    assert sum(isinstance(fact, BatonPassed) for fact in swarm.facts()) == 1


@virtual_time
async def test_built_in_tool_that_is_refused_says_why() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT)
        await passing(a, "nobody there")
        await advance(3)
        failed = await call(a)
    assert failed.status == "failed"
    assert failed.error


@virtual_time
async def test_built_in_tool_is_put_off_over_the_death_of_its_owner() -> None:
    swarm = Swarm()
    late = Config(scheduling=Scheduling(default_delay_ms=20_000))
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT, TUTOR, config=late)
        await passing(a, "tutor")
        await a.submit(ChangeStatus("stop"), key="stop")
        await advance(5)
        a.freeze()
        await advance(14)
        assert (await call(b)).status == "scheduled"
        await advance(25)
        assert (await call(b)).status == "succeeded"
    assert sum(isinstance(fact, BatonPassed) for fact in swarm.facts()) == 1
