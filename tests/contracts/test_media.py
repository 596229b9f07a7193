"""`Media`: rooms on LiveKit, in memory and on the real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit import api

from src.api.ids import new_id
from src.api.livekit.client import LiveKit, metadata_of, open_livekit
from src.swarm.errors import MediaUnavailable
from src.swarm.rooms.protocols import AGENT, Media
from src.swarm.rooms.settings import LiveKitSettings
from tests.support.livekit import KEY, SECRET, needs_livekit, settings_for
from tests.support.media import MemoryMedia

NOWHERE = settings_for("ws://127.0.0.1:1", timeout="300ms")


@pytest.fixture(params=["memory", pytest.param("livekit", marks=needs_livekit)])
async def media(request: pytest.FixtureRequest) -> AsyncIterator[Media]:
    if request.param == "memory":
        yield MemoryMedia()
        return
    async with open_livekit(request.getfixturevalue("livekit")) as real:
        yield real


@pytest.fixture
def room() -> str:
    return new_id()


async def test_a_room_that_lives_is_opened_as_it_is(media: Media, room: str) -> None:
    first, again = await media.open(room, "c-1"), await media.open(room, "c-1")

    assert first == again
    assert first.id == room
    assert first.sid


async def test_every_room_that_lives_is_listed(media: Media, room: str) -> None:
    opened = await media.open(room, "c-1")

    assert [one for one in await media.list() if one.id == room] == [opened]


async def test_a_closed_room_is_gone_and_closing_it_again_is_nothing(
    media: Media, room: str
) -> None:
    await media.open(room, "c-1")
    await media.close(room)
    await media.close(room)

    assert room not in {one.id for one in await media.list()}


async def test_each_life_of_a_room_has_a_name_of_its_own_and_begins_later(
    media: Media, room: str
) -> None:
    first = await media.open(room, "c-1")
    await media.close(room)
    second = await media.open(room, "c-1")

    assert second.sid != first.sid
    assert second.began > first.began


async def test_one_swarm_is_sent_however_often_it_is_asked_for(media: Media, room: str) -> None:
    await media.open(room, "c-1")
    sent = {await media.dispatch(room, "c-1", anew=anew) for anew in (False, True, False)}

    assert len(sent) == 1


async def test_the_swarm_is_not_sent_to_the_next_life_by_itself(media: Media, room: str) -> None:
    await media.open(room, "c-1")
    first = await media.dispatch(room, "c-1", anew=False)
    await media.close(room)
    await media.open(room, "c-1")

    assert await media.dispatch(room, "c-1", anew=False) != first


async def test_a_livekit_that_is_away_is_told_from_one_that_refuses(room: str) -> None:
    away = MemoryMedia()
    away.away = True
    async with open_livekit(NOWHERE) as nowhere:
        for media in (away, nowhere):
            with pytest.raises(MediaUnavailable, match="does not answer"):
                await media.open(room, "c-1")


# -- what only the real one can tell ---------------------------------------------------------------


@asynccontextmanager
async def bare(settings: LiveKitSettings) -> AsyncIterator[api.LiveKitAPI]:
    """LiveKit's own client, to look from outside."""
    async with api.LiveKitAPI(settings.url, KEY, SECRET) as server:
        yield server


@pytest.fixture
async def outside(livekit: LiveKitSettings) -> AsyncIterator[api.LiveKitAPI]:
    async with bare(livekit) as server:
        yield server


@pytest.fixture
async def real(livekit: LiveKitSettings) -> AsyncIterator[LiveKit]:
    async with open_livekit(livekit) as opened:
        yield opened


async def seen(outside: api.LiveKitAPI, room: str) -> api.Room:
    (found,) = (await outside.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms
    return found


@needs_livekit
async def test_the_metadata_of_a_room_is_its_conversation_and_nothing_else(
    real: LiveKit, outside: api.LiveKitAPI, room: str
) -> None:
    await real.open(room, "c-1")
    found = await seen(outside, room)

    assert found.metadata == '{"conversation_id":"c-1"}'
    assert (found.empty_timeout, found.departure_timeout) == (300, 60)


@needs_livekit
async def test_a_room_that_began_without_metadata_gets_it(
    real: LiveKit, outside: api.LiveKitAPI, room: str
) -> None:
    """LiveKit leaves a room that lives as it is, whatever is said at its second making."""
    await outside.room.create_room(api.CreateRoomRequest(name=room, metadata="{}"))
    await real.open(room, "c-1")

    assert (await seen(outside, room)).metadata == metadata_of("c-1")


@needs_livekit
async def test_the_job_of_a_swarm_names_its_conversation(
    real: LiveKit, outside: api.LiveKitAPI, room: str
) -> None:
    await real.open(room, "c-1")
    sent = await real.dispatch(room, "c-1", anew=False)
    found = await outside.agent_dispatch.get_dispatch(sent, room)

    assert found is not None
    assert (found.agent_name, found.metadata) == (AGENT, '{"conversation_id":"c-1"}')


@needs_livekit
async def test_a_second_way_that_somebody_else_made_is_taken_away(
    real: LiveKit, outside: api.LiveKitAPI, room: str
) -> None:
    """Making one is not idempotent on LiveKit: two would bring two swarms."""
    await real.open(room, "c-1")
    for _ in range(2):
        wanted = api.CreateAgentDispatchRequest(agent_name=AGENT, room=room)
        await outside.agent_dispatch.create_dispatch(wanted)
    sent = await real.dispatch(room, "c-1", anew=False)
    found = await outside.agent_dispatch.list_dispatch(room)

    assert [one.id for one in found if one.agent_name == AGENT] == [sent]


@needs_livekit
async def test_a_secret_that_is_not_livekits_is_told_apart(
    livekit: LiveKitSettings, room: str
) -> None:
    wrong = settings_for(str(livekit.url), api_secret="another secret, 32 characters at least")
    async with open_livekit(wrong) as real:
        with pytest.raises(MediaUnavailable, match="refuses"):
            await real.open(room, "c-1")


async def test_a_room_without_an_agent_that_says_so_is_not_recorded(
    media: Media, room: str
) -> None:
    assert not await media.recorded(room)
    await media.open(room, "c-1")
    assert not await media.recorded(room)
