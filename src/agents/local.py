"""A conversation of this process's server, for a job in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from src.agents.threads import in_loop, opened_in
from src.state.background import background
from src.state.errors import NotFound, Refused, StateError
from src.state.models import Event
from src.swarm.configs.bots import BotConfig, ProviderNames
from src.swarm.dialogue.room import Room
from src.swarm.dialogue.stage import Heard, Speech, Spoken, Stage
from src.swarm.opened import Runtime
from src.swarm.pending import PendingEvent
from src.swarm.providers import Sound
from src.swarm.shapes.codec import decode_command, encode_command
from src.swarm.shapes.commands import Command
from src.swarm.shapes.models import ConversationState

log = structlog.get_logger(__name__)

_AGAIN_S = 0.25
_REFUSALS = 40
"""So often a conversation is asked for whose owner has bots at work: they may be at a last word."""
_T = TypeVar("_T")


class LocalConversation:
    """`Conversation` over a server's runtime. Its calls are made from a job's loop."""

    def __init__(self, runtime: Runtime, home: asyncio.AbstractEventLoop, id: str) -> None:
        self._runtime, self._home, self.id = runtime, home, id
        self._service = runtime.service

    async def state(self) -> ConversationState:
        return (await self._at_home(self._service.read(self.id))).entry.state

    async def providers(self) -> ProviderNames:
        return await self._at_home(self._service.in_force.providers(await self.state()))

    async def recording(self) -> bool:
        return await self._at_home(self._service.in_force.recording(await self.state()))

    async def submit(self, command: Command, *, key: str, actor: str) -> None:
        # What a room brings is as foreign as what HTTP does: names, ids and texts have bounds.
        checked = decode_command(encode_command(command))
        await self._at_home(self._service.submit_of_room(self.id, checked, key, actor))

    async def changes(self) -> AsyncGenerator[Event | PendingEvent, None]:
        while True:
            try:
                after = (await self.state()).version.seq
                following = self._service.follow(self.id, after=after)
                async with opened_in(self._home, following) as events:
                    while (event := await self._at_home(_next(events))) is not None:
                        yield event
            except NotFound:
                return
            except StateError as error:
                log.info("room.not_followed_yet", conversation_id=self.id, error=str(error))
            # They ended since PostgreSQL is on another branch of its history, or could not begin.
            await asyncio.sleep(_AGAIN_S)

    @asynccontextmanager
    async def staged(self, stage: Stage) -> AsyncIterator[LocalFloor]:
        abroad = StageAbroad(stage, asyncio.get_running_loop())
        async with opened_in(self._home, _hosted(self._runtime, self.id, abroad)) as room:
            yield LocalFloor(room, self._home)

    async def _at_home(self, work: Coroutine[Any, Any, _T]) -> _T:
        return await in_loop(self._home, work)


class LocalFloor:
    """`Floor` of a room in the server's loop."""

    def __init__(self, room: Room, home: asyncio.AbstractEventLoop) -> None:
        self._room, self._home = room, home

    def person_starts(self, person_id: str) -> None:
        self._home.call_soon_threadsafe(self._room.person_starts, person_id)

    def person_stops(self, person_id: str) -> None:
        self._home.call_soon_threadsafe(self._room.person_stops, person_id)


class StageAbroad:
    """`Stage` for the server's loop, of voices that live in a job's."""

    def __init__(self, stage: Stage, loop: asyncio.AbstractEventLoop) -> None:
        self._stage, self._loop = stage, loop

    @asynccontextmanager
    async def speech(
        self, bot_id: str, bot: BotConfig, heard: Heard
    ) -> AsyncIterator[SpeechAbroad]:
        home = asyncio.get_running_loop()

        def tell(text: str, characters: int) -> None:
            home.call_soon_threadsafe(heard, text, characters)

        async with opened_in(self._loop, self._stage.speech(bot_id, bot, tell)) as speech:
            yield SpeechAbroad(speech, self._loop)


class SpeechAbroad:
    """`Speech` for the server's loop."""

    def __init__(self, speech: Speech, loop: asyncio.AbstractEventLoop) -> None:
        self._speech, self._loop = speech, loop

    async def add(self, text: str) -> None:
        await in_loop(self._loop, self._speech.add(text))

    async def play(self, sound: Sound) -> None:
        await in_loop(self._loop, self._speech.play(sound))

    async def finish(self) -> Spoken:
        return await in_loop(self._loop, self._speech.finish())

    async def interrupt(self) -> Spoken:
        return await in_loop(self._loop, self._speech.interrupt())


@asynccontextmanager
async def _hosted(runtime: Runtime, id: str, stage: Stage) -> AsyncIterator[Room]:
    async with runtime.host.staged(id, stage) as room, background(_keep(runtime, id, room)):
        yield room


async def _keep(runtime: Runtime, id: str, room: Room) -> None:
    """Own the conversation for as long as its room is here.

    Raises:
        NotFound: it was deleted.
        Refused: another server hosts its room and goes on with it.
    """
    refusals = 0
    while True:
        room.away.clear()
        try:
            await runtime.service.handover.fetch(id)
        except NotFound:
            raise
        except StateError as error:
            refusals = refusals + 1 if isinstance(error, Refused) else 0
            if refusals > _REFUSALS:
                raise
            log.info("room.not_owned_yet", conversation_id=id, error=str(error))
            await asyncio.sleep(_AGAIN_S)
        else:
            refusals = 0
            await room.away.wait()


async def _next(events: AsyncIterator[_T]) -> _T | None:
    return await anext(events, None)
