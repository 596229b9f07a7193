"""Coordination: locks, buses, queues and swarms that only look as if they were there."""

import asyncio
from typing import Any, get_args

import pytest
from redis.asyncio import Redis

from src.invalidation.buses.redis import RedisBus
from src.state.errors import NotOwner, OutcomeUnknown, OwnershipLost, OwnershipUnknown
from src.state.models import Announcement, Version
from src.state.tiers.keys import partition_of
from src.state.tiers.redis import open_redis
from src.swarm.dialogue.responder import who_answers
from src.swarm.rules import lifecycle
from src.swarm.shapes.commands import ChangeStatus, Create
from src.swarm.shapes.models import Status
from tests.support.clock import advance, virtual_time
from tests.support.cluster import Cluster
from tests.support.cluster_runtimes import Member, open_members
from tests.support.cluster_settings import settings
from tests.support.rooms import ADA, SCOUT, Swarm
from tests.unit.swarm.given import ADA as A_PERSON
from tests.unit.swarm.given import BEN, Story


@virtual_time
async def test_23_a_second_owner_is_refused_and_a_former_one_fenced_by_its_number() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        with pytest.raises(NotOwner):
            await b.write("n", "two")
        a.freeze()
        late = asyncio.create_task(a.write("n", "late"))
        await advance(12)
        await b.write("n", "two")
        a.thaw()
        with pytest.raises((OwnershipLost, OwnershipUnknown, NotOwner, OutcomeUnknown)):
            await late
        assert cluster.texts("n") == ["one", "two"]


async def test_24_the_bus_keeps_what_it_says_and_tells_everybody(redis_url: str) -> None:
    given = settings(redis_url=redis_url)
    change = Announcement("notebook", "n", Version(1, 1))
    async with open_redis(given, alone=True) as client, open_redis(given) as pulls:
        bus = RedisBus(client, pulls, given)
        await bus.publish("server-a", [change])
        async with bus.subscribe() as first, bus.subscribe() as second:
            await bus.publish("server-a", [change])
            heard = [await anext(first), await anext(second)]
        assert [(message.n, message.changes) for message in heard] == [(2, (change,))] * 2
        # What was said before anybody listened is kept, in order.
        kept = await bus.replay(partition_of("n"), 0, 2)
        assert kept is not None
        assert [message.n for message in kept] == [1, 2]


async def test_25_changes_cross_servers_in_the_order_of_the_log(
    database_url: str, redis_url: str
) -> None:
    async with open_members(database_url, redis_url) as [a, b]:
        await a.create("c")
        versions = [(await a.say("c", f"turn {number}")).version for number in range(20)]
        assert versions == sorted(versions)
        texts = await b.texts("c", at_least=versions[-1])
        assert texts == [f"turn {number}" for number in range(20)]


@virtual_time
async def test_26_no_queue_drops_what_it_took() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        acks = await asyncio.gather(*(a.write("n", f"line {number}") for number in range(3000)))
    assert len({ack.version for ack in acks}) == 3000
    assert len(cluster.texts("n")) == 3000


def test_27_rules_name_only_statuses_that_exist_and_reach_those_that_are_shown() -> None:
    statuses = set(get_args(Status))
    reached = {"deleted", "ready"}
    for sources, target in lifecycle._ACTIONS.values():
        assert sources <= statuses
        reached.add(target)
    assert reached | {"uninitialized", "loading"} == statuses


@virtual_time
async def test_27_an_idle_swarm_that_runs_can_be_paused() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT)
        await advance(3600)
        await a.submit(ChangeStatus("pause"), key="pause")
        assert (await a.service.read("c")).entry.state.status == "paused"


@virtual_time
async def test_28_a_swarm_answers_from_its_first_turn_on() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        new = Create("c", participants=(ADA, SCOUT))
        await a.submit(new, key="create", create=True)
        await a.submit(ChangeStatus("start"), key="start")
        await a.say("Is anybody there?")
        await advance(1)
    assert [who for who, _ in swarm.said()] == ["ada", "scout"]


def test_28_no_person_is_ever_chosen_to_answer() -> None:
    story = Story(members=(A_PERSON, BEN))
    story.tell(ChangeStatus("start"))
    answer = who_answers(story.state, story.says("ada"))
    assert (answer.bots, answer.reason) == ((), "no_bot")


async def _commands(redis_url: str) -> dict[str, Any]:
    async with Redis.from_url(redis_url) as client:
        found: dict[str, Any] = await client.info("commandstats")
        return found


async def test_18_no_path_scans_the_keys_of_redis(database_url: str, redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        await client.config_resetstat()
    async with open_members(database_url, redis_url, flush_debounce=0.1) as members:
        a: Member = members[0]
        await a.create("c")
        for number in range(5):
            await a.say("c", f"turn {number}")
            await members[1].texts("c")
    used = {name.removeprefix("cmdstat_").split("|")[0] for name in await _commands(redis_url)}
    assert used.isdisjoint({"keys", "scan", "hgetall", "smembers"}), used
    assert "evalsha" in used
