"""A session is summarised once, whoever notices its end, and whoever dies over it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count

import pytest

from src.state.models import Term
from src.state.records.finalised import Finalised, Life
from src.state.records.rooms import Rooms
from src.state.records.swarm_queue import SwarmQueue
from src.state.tiers.postgres import Pool, open_pool
from src.swarm.providers.registry import Registry
from src.swarm.rooms.finalising import Finaliser
from src.swarm.rooms.protocols import Heard, LiveRoom
from src.swarm.rooms.queue import Queue
from src.swarm.rooms.service import RoomService
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.shapes.commands import ChangeStatus, Create, Delete, NewParticipant
from src.swarm.shapes.config import Config, LlmConfig
from src.swarm.shapes.sessions import SessionSummary
from tests.support.api import running_server
from tests.support.cluster_runtimes import Database, Member, open_database
from tests.support.cluster_settings import eventually, settings
from tests.support.media import MemoryMedia
from tests.support.rooms import Voice

TERM = Term("sessions", "s-1", 1)
_LOGGED = "SELECT count(*) FROM events WHERE type = 'session_summarised'"
_numbers = count(1)


class House:
    """A server with its part in rooms on one LiveKit."""

    def __init__(self, member: Member, pool: Pool, media: MemoryMedia, voice: Voice) -> None:
        self.member, self.media, self.voice = member, media, voice
        self.records = Finalised(pool)
        service = member.service
        registry = Registry({"test/voice": voice})
        self.finaliser = Finaliser(self.records, service, service.in_force, registry)
        queue = Queue(SwarmQueue(pool), media, LiveKitSettings())
        self.rooms = RoomService(Rooms(pool), media, queue, self.finaliser.over)

    async def begin(self, *, model: str = "") -> LiveRoom:
        """Have the conversation "c" with a room, and two turns in it."""
        config = Config(llm_config=LlmConfig(model=model))
        people = (NewParticipant("ada", "person", "Ada"),)
        new = Create("c", config=config, participants=people)
        await self.member.service.submit_here("c", new, key="create", actor="ada", create=True)
        live = self.open()
        await self.rooms.create("r-1", "Algebra", "c", False, "ada", live)
        await self.member.say("c", "Hello there")
        await self.member.say("c", "Good bye")
        return live

    def open(self) -> LiveRoom:
        """Begin the next life of the room on LiveKit."""
        began = int(time.time() * 1000)
        live = LiveRoom("r-1", f"RM_{next(_numbers)}", began, 0)
        self.media.begin(live, "c")
        return live

    async def ended(self, live: LiveRoom) -> None:
        """Have LiveKit tell that a life is over."""
        heard = Heard(f"EV_{next(_numbers)}", "ended", live.id, live.sid, live.began)
        await self.rooms.hear(heard)

    async def finish(self, database: Database) -> None:
        """Finalise what is there, as soon as its conversation's owner can be asked."""

        async def all_done() -> bool:
            await make_due(database, given_up=True)
            await self.finaliser.finalise_as_duty(TERM)
            found, done = await rows(database)
            return found == done

        await eventually(all_done, 60, what="every session finalised")

    async def kept(self) -> list[SessionSummary]:
        page = await self.member.service.sessions("c", before=None, limit=50)
        return list(page.sessions)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(settings(database_url)) as opened:
        yield opened


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


@pytest.fixture
async def houses(database_url: str, redis_url: str, pool: Pool) -> AsyncIterator[list[House]]:
    media = MemoryMedia()

    def voice(name: str) -> Voice:
        return Voice(says=lambda _: f"Told by {name}.")

    async with (
        running_server(database_url, redis_url) as a,
        running_server(database_url, redis_url) as b,
    ):
        yield [
            House(Member(server.runtime), pool, media, voice(name))
            for server, name in ((a, "a"), (b, "b"))
        ]


async def make_due(database: Database, *, given_up: bool = False) -> None:
    """Let the time pass after which a session is finalised, or a claim on it given up."""
    claim = "now() - interval '10 minutes'" if given_up else "claimed_at"
    await database.value(f"UPDATE finalised SET due_at = now(), claimed_at = {claim}")


async def rows(database: Database) -> tuple[int, int]:
    """How many sessions there are, and how many are done."""
    return (
        await database.value("SELECT count(*) FROM finalised"),
        await database.value("SELECT count(*) FROM finalised WHERE done_at IS NOT NULL"),
    )


async def test_all_who_notice_the_end_at_once_on_two_servers_leave_one_summary(
    houses: list[House], database: Database
) -> None:
    a, b = houses
    live = await a.begin()
    room = await a.rooms.get("r-1")
    await a.media.close("r-1")
    await asyncio.gather(
        a.rooms.over(room),
        b.ended(live),
        b.rooms.reconcile(),
        b.rooms.over(room),
        a.ended(live),
        a.finaliser.finalise_as_duty(TERM),
        b.finaliser.finalise_as_duty(TERM),
    )
    for house in houses:
        await house.finish(database)

    assert await rows(database) == (1, 1)
    assert await database.value(_LOGGED) == 1
    [session] = await b.kept()
    assert (session.turns, session.words, session.by) == (2, 4, "extract")
    numbers = "SELECT turns || ' ' || words FROM finalised"
    assert await database.value(numbers) == "2 4"


async def test_end_that_only_livekit_tells_waits_for_the_last_words(
    houses: list[House], database: Database
) -> None:
    a, b = houses
    live = await a.begin()
    await a.ended(live)
    await b.finaliser.finalise_as_duty(TERM)
    assert await rows(database) == (1, 0)

    await a.member.say("c", "One more thing")
    await b.finish(database)
    [session] = await a.kept()
    assert session.turns == 3


async def test_server_that_dies_between_claim_and_word_loses_nothing(
    houses: list[House], database: Database
) -> None:
    a, b = houses
    live = await a.begin()
    await a.ended(live)
    await make_due(database)
    [_] = await a.records.claim_due(10)

    await b.finaliser.finalise_as_duty(TERM)
    assert await rows(database) == (1, 0), "it was another's, which may be at it"
    await b.finish(database)
    assert await rows(database) == (1, 1)
    assert len(await b.kept()) == 1


async def test_server_that_dies_after_its_word_leaves_it_as_the_only_one(
    houses: list[House], database: Database
) -> None:
    a, b = houses
    live = await a.begin(model="test/voice")
    await a.ended(live)
    await a.finish(database)
    # As if it had died before it could say so.
    await database.value("UPDATE finalised SET done_at = NULL, seq = NULL, turns = 0")
    await b.finish(database)

    assert b.voice.requests, "it was made anew, in vain"
    assert await database.value(_LOGGED) == 1
    assert [session.text for session in await b.kept()] == ["Told by a."]
    assert await database.value("SELECT turns FROM finalised") == 2


async def test_session_is_told_by_the_conversations_model_else_by_its_own_words(
    houses: list[House], database: Database
) -> None:
    a, _ = houses
    live = await a.begin(model="test/voice")
    a.voice.before = RuntimeError("the model is away")
    await a.media.close("r-1")
    await a.rooms.over(await a.rooms.get("r-1"))
    live = a.open()
    a.voice.before = None
    await a.rooms.enter(await a.rooms.get("r-1"))
    await a.member.say("c", "Back again")
    await a.ended(live)
    await a.finish(database)

    later, first = await a.kept()
    assert (later.by, later.text) == ("model", "Told by a.")
    assert first.by == "extract"
    assert "Ada: Hello there" in first.text
    shown = [turn.text for turn in a.voice.requests[-1].state.messages]
    assert "Back again" in shown
    assert shown[-1].startswith("Summarise")


async def test_life_that_another_one_follows_is_finalised_though_nobody_heard_its_end(
    houses: list[House], database: Database
) -> None:
    a, _ = houses
    await a.begin()
    await a.media.close("r-1")
    a.open()
    await a.rooms.enter(await a.rooms.get("r-1"))
    assert await rows(database) == (1, 0)
    await a.finish(database)
    assert len(await a.kept()) == 1


@pytest.mark.parametrize("last", [ChangeStatus("complete"), Delete()], ids=["complete", "deleted"])
async def test_conversation_that_is_over_itself_is_in_nobodys_way(
    houses: list[House], database: Database, last: ChangeStatus | Delete
) -> None:
    a, _ = houses
    live = await a.begin()
    await a.member.service.submit_here("c", last, key="last", actor="ada")
    await a.ended(live)
    await a.finish(database)
    assert await rows(database) == (1, 1)
    assert await database.value(_LOGGED) == (0 if isinstance(last, Delete) else 1)


async def test_room_in_which_nothing_was_said_leaves_nothing_in_the_log(
    houses: list[House], database: Database
) -> None:
    a, _ = houses
    await a.member.create("c")
    live = a.open()
    await a.rooms.create("r-1", "Algebra", "c", False, "ada", live)
    await a.rooms.delete(await a.rooms.get("r-1"), None)
    await a.finish(database)
    assert await rows(database) == (1, 1)
    assert await database.value(_LOGGED) == 0
    assert await a.kept() == []


async def test_call_is_finalised_when_it_is_over_or_its_server_says_no_more_that_it_goes_on(
    houses: list[House], database: Database
) -> None:
    a, b = houses
    await a.member.create("c")
    began = int(time.time() * 1000)
    killed, over = Life("call-1", began, "c"), Life("call-2", began + 1, "c")
    await a.finaliser.alive([killed, over])
    await a.member.say("c", "Hello there")
    await a.finaliser.alive([killed])
    await a.finaliser.hung_up(over)

    await b.finaliser.finalise_as_duty(TERM)
    assert await rows(database) == (2, 1), "one may go on yet"
    await make_due(database)
    await b.finaliser.finalise_as_duty(TERM)
    assert await rows(database) == (2, 2)
    assert [(one.room_id, one.turns) for one in await a.kept()] == [("call-1", 1), ("call-2", 1)]
    # Who was given up and comes again changes nothing.
    await a.finaliser.alive([killed])
    await make_due(database)
    await a.finaliser.finalise_as_duty(TERM)
    assert len(await a.kept()) == 2
