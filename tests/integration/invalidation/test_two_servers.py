"""What one server changes, the other knows: by every way of hearing, or without one of them."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from src.embedded import Servers
from src.invalidation.publisher import Announcer
from src.state.errors import SharedTierUnavailable
from src.state.models import Announcement
from tests.support.cluster_runtimes import Member, open_members
from tests.support.cluster_settings import eventually

Pair = Sequence[Member]


@pytest.fixture
async def pair(database_url: str, redis_url: str) -> AsyncIterator[Pair]:
    async with open_members(database_url, redis_url, flush_debounce=0.4) as members:
        yield members


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    async with Redis.from_url(redis_url) as client:
        yield client


async def sees_in_time(reader: Member, id: str, text: str) -> None:
    """Within the two seconds that unlabelled reads promise."""

    async def seen() -> bool:
        read = await reader.read(id)
        return read.stale_s is not None or read.entry.state.messages[-1].text == text

    await eventually(seen, within_s=2.0, what=text)


async def name_of_tutor(reader: Member) -> str:
    name: str = (await reader.service.configs.get("bot", "tutor")).body.name
    return name


async def test_cut_subscription_leaves_no_unlabelled_stale_read(pair: Pair, redis: Any) -> None:
    a, b = pair
    await a.create("c")
    await a.say("c", "turn 0")
    await b.read("c")
    for n in range(1, 6):
        await redis.client_kill_filter(_type="pubsub")
        await a.say("c", f"turn {n}")
        await sees_in_time(b, "c", f"turn {n}")


async def test_announcement_arrives_without_a_pull(database_url: str, redis_url: str) -> None:
    """Pulls so far apart that only the subscription can have told."""
    async with open_members(
        database_url, redis_url, pull_interval=60, pull_deadline=120, dead_after=300
    ) as [a, b]:
        await a.create("c")
        await a.say("c", "one")
        await b.read("c")
        await a.say("c", "two")
        await sees_in_time(b, "c", "two")
        assert (await b.read("c")).stale_s is None


async def test_config_edited_on_one_server_is_read_on_the_other(pair: Pair) -> None:
    a, b = pair
    await b.service.configs.create("bot", "tutor", b'{"name":"Tutor"}', "ada")
    assert (await a.service.configs.get("bot", "tutor")).version == 1
    await b.service.configs.replace("bot", "tutor", b'{"name":"Mentor"}', "ada")
    assert (await b.service.configs.get("bot", "tutor")).body.name == "Mentor"

    async def seen() -> bool:
        return await name_of_tutor(a) == "Mentor"

    await eventually(seen)


async def test_config_that_was_committed_but_never_announced_arrives_through_the_outbox(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between commit and announcement."""
    a, b = pair
    await b.service.configs.create("bot", "tutor", b'{"name":"Tutor"}', "ada")
    assert (await a.service.configs.get("bot", "tutor")).version == 1

    async def die(self: Announcer, changes: Sequence[Announcement]) -> None:
        raise SharedTierUnavailable("killed here")

    monkeypatch.setattr(Announcer, "publish", die)
    await b.service.configs.replace("bot", "tutor", b'{"name":"Mentor"}', "ada")

    async def seen() -> bool:
        return await name_of_tutor(a) == "Mentor"

    await eventually(seen)


async def test_redis_killed_and_restarted(pair: Pair, servers: Servers) -> None:
    """Writes go on, announced by PostgreSQL; afterwards everything is as before."""
    a, b = pair
    await a.create("c")
    await a.say("c", "before")
    await b.read("c")
    servers.kill_redis()
    for n in range(5):
        await a.say("c", f"without {n}")
        await sees_in_time(b, "c", f"without {n}")
    assert a.count("announcement_fallbacks") >= 1
    assert await b.texts("c") == ["before", *(f"without {n}" for n in range(5))]
    servers.start_redis()

    async def fresh_from_l1() -> bool:
        await b.read("c")
        return b.service.peek("c") is not None

    # Nobody writes meanwhile: the silence must end by itself.
    await eventually(fresh_from_l1, within_s=15)
    heard = b.count("invalidations")
    await a.say("c", "after")
    await sees_in_time(b, "c", "after")
    await eventually(lambda: b.count("invalidations") > heard, within_s=5)
