"""Hosts calls: the conversation of each is hosted on the server where the call arrives.

Their voices and ears live in a thread with a loop of its own, as those of rooms do: making speech
takes time that the server's loop does not have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from uuid import uuid4

import structlog
from livekit.agents.utils import http_context

from src.agents.call import CallVenue
from src.agents.errors import AgentsError
from src.agents.hosting import RoomHost
from src.agents.local import LocalConversation
from src.agents.providers import registry
from src.agents.providers.models import Models
from src.agents.settings import RoomsSettings
from src.agents.threads import in_loop, own_loop
from src.state.background import background
from src.state.buffers import Buffer
from src.state.errors import Overloaded, Refused, TierUnavailable
from src.state.records.finalised import Life
from src.swarm.configs.bots import ProviderNames
from src.swarm.opened import Runtime
from src.swarm.rooms.calls import Caller, Line, Wire
from src.swarm.shapes import layers

log = structlog.get_logger(__name__)

_LAST_WORDS_S = 12.0
"""How long a call that was hung up may take until its last words are logged."""
_RETRY_S = 5.0
_NOTE_S = 30.0
"""How often calls are noted to go on; thrice it may fail."""


class _Call(NamedTuple):
    venue: CallVenue
    life: Life


class CallHosting:
    """`Calls` on this server."""

    def __init__(self, runtime: Runtime, settings: RoomsSettings, models: Models) -> None:
        self._runtime, self._settings, self._models = runtime, settings, models
        self._home = asyncio.get_running_loop()
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where calls live; None: none are taken."""
        self._calls: dict[asyncio.Future[None], _Call] = {}
        self._begun = asyncio.Event()
        """Whether one has begun that is not noted yet."""
        self._refused = 0
        runtime.status.bounded.append(self.buffers)

    def buffers(self) -> Mapping[str, Buffer]:
        """Return what is bounded here."""
        return {"calls": Buffer(len(self._calls), self._settings.calls, self._refused)}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take calls for the length of the block; those under way at its end are hung up."""
        async with background(self._note_calls()), own_loop("calls") as self._loop:
            try:
                yield
            finally:
                await self.stop()

    async def stop(self) -> None:
        """Take no more, and hang up; what was said last is logged within a bounded time."""
        self._loop = None
        for call in self._calls.values():
            call.venue.hang_up()
        if self._calls:
            await asyncio.wait(list(self._calls), timeout=_LAST_WORDS_S)
        for work in self._calls:
            work.cancel()

    async def host(
        self, conversation_id: str, caller: Caller, wire: Wire, begun: Callable[[Line], None]
    ) -> None:
        self._place()
        await self._check(conversation_id)
        loop = self._place()
        venue = CallVenue(str(uuid4()), caller, wire, loop)
        life = Life(f"call-{venue.name}", int(time.time() * 1000), conversation_id)
        work = asyncio.ensure_future(self._call(loop, venue, life))
        self._calls[work] = _Call(venue, life)
        self._begun.set()
        work.add_done_callback(self._over)
        begun(venue)
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            venue.hang_up()
            await asyncio.wait((work,), timeout=_LAST_WORDS_S)
            work.cancel()
            raise

    def _place(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or len(self._calls) >= self._settings.calls:
            self._refused += 1
            why = (
                "this server takes no more calls, it is going away"
                if self._loop is None
                else f"{len(self._calls)} calls are hosted here, as many as "
                "SWARMSTATE_ROOMS_CALLS allows"
            )
            raise Overloaded(why, _RETRY_S)
        return self._loop

    def _over(self, work: asyncio.Future[None]) -> None:
        del self._calls[work]
        if not work.cancelled() and (error := work.exception()):
            log.info("call.failed", error=repr(error))

    async def _call(self, loop: asyncio.AbstractEventLoop, venue: CallVenue, life: Life) -> None:
        """Host a call, and have what it was kept."""
        try:
            await in_loop(loop, self._hosted(life.conversation_id, venue))
        finally:
            try:
                await self._runtime.sessions.hung_up(life)
            except TierUnavailable as error:
                log.warning("call.end_not_noted", call=venue.name, error=str(error))

    async def _note_calls(self) -> None:
        """Note what goes on: the session of a call that dies with this server is kept as well."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_NOTE_S):
                    await self._begun.wait()
            self._begun.clear()
            if lives := [call.life for call in self._calls.values()]:
                try:
                    await self._runtime.sessions.alive(lives)
                except TierUnavailable as error:
                    log.warning("calls.not_noted", calls=len(lives), error=str(error))

    async def _hosted(self, conversation_id: str, venue: CallVenue) -> None:
        """In the loop of calls: host one."""
        conversation = LocalConversation(self._runtime, self._home, conversation_id)
        log.info("call.hosted", call=venue.name, conversation_id=conversation_id)
        try:
            async with http_context.open():
                await RoomHost(venue, conversation, self._models).run()
        except ExceptionGroup as group:
            raise _first(group) from group
        finally:
            log.info("call.left", call=venue.name, conversation_id=conversation_id)

    # -- what it takes ---------------------------------------------------------------------------

    async def _check(self, conversation_id: str) -> None:
        """Raises Refused when a person would not be understood, or a bot not be heard."""
        service = self._runtime.service
        state = (await service.read(conversation_id)).entry.state
        shared = await service.in_force.providers(state)
        if not shared.stt:
            raise _lacking("nobody would be understood", "stt", "offline/phrases")
        records = await service.in_force.bots(state)
        voices: list[tuple[ProviderNames, str]] = []
        for bot in state.bots:
            record = records.get(bot.id)
            names, sound = shared, ""
            if record is not None:
                names, sound = layers.overlay(shared, record.body.providers), record.body.voice
            if not (names.tts or names.realtime):
                raise _lacking(f"bot {bot.id} would not be heard", "tts", "offline/tone")
            voices.append((names, sound))
        try:
            await self._try(shared, voices)
        except AgentsError as error:
            raise Refused("no_voice", str(error), field="providers") from error

    async def _try(self, shared: ProviderNames, voices: list[tuple[ProviderNames, str]]) -> None:
        """Load one of each, so that what is wrong is said at once."""
        await (await registry.understanding(self._models, shared)).aclose()
        for names, sound in voices:
            await (await registry.voice(self._models, names, sound)).aclose()


def _lacking(what: str, stage: str, offline: str) -> Refused:
    detail = (
        f"{what}: set providers.{stage} of the bot, its team or the global setting `providers`, "
        f"as plugin/model; {offline} needs no key"
    )
    return Refused("no_voice", detail, field=f"providers.{stage}")


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """Return what went wrong first: the groups only say where."""
    error: Exception = group.exceptions[0]  # type: ignore[assignment]
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
