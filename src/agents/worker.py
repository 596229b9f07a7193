"""The worker: takes LiveKit's jobs beside the API, each in a thread of this server's process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from livekit.agents import AgentServer, AutoSubscribe, JobContext, JobExecutorType, JobRequest

from src.agents.connections import Connections
from src.agents.errors import NoConversation
from src.agents.hosting import RoomHost
from src.agents.local import LocalConversation
from src.agents.people import named_in
from src.agents.providers.plugins import Plugins
from src.agents.settings import RoomsSettings
from src.agents.threads import in_loop
from src.state.background import background
from src.swarm.opened import Runtime
from src.swarm.rooms.protocols import AGENT, agent_of
from src.swarm.rooms.settings import LiveKitSettings

log = structlog.get_logger(__name__)

_ID = "conversation_id"
_REGISTER_S = 5.0
_FOR_EVER = 1_000_000_000
"""Tries to reach LiveKit, ten seconds apart."""


class Worker:
    """Hosts rooms on this server."""

    def __init__(
        self,
        runtime: Runtime,
        settings: RoomsSettings,
        livekit: LiveKitSettings,
        plugins: Plugins,
    ) -> None:
        self._runtime, self._settings, self._plugins = runtime, settings, plugins
        self._url, self._key, self._secret = livekit.account
        self._home = asyncio.get_running_loop()
        self._server = AgentServer(
            # A thread, since the conversation is in this process's memory.
            job_executor_type=JobExecutorType.THREAD,
            num_idle_processes=1,
            load_fnc=self.load,
            load_threshold=1.0,
            ws_url=self._url,
            api_key=self._key,
            api_secret=self._secret,
            host="127.0.0.1",
            port=0,
            http_proxy=None,
            # A LiveKit that is away must not end the server: the API goes on, and it comes back.
            max_retry=_FOR_EVER,
        )
        self._known = asyncio.Event()
        self._server.on("worker_registered", lambda *_: self._known.set())
        self._server.rtc_session(self._host, agent_name=AGENT, on_request=self._accept)

    def load(self) -> float:
        """Return which part of its places is taken, 0.0 to 1.0."""
        return min(1.0, self.sessions / self._settings.sessions)

    @property
    def sessions(self) -> int:
        """Rooms that are hosted here now."""
        return len(self._server.active_jobs)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take jobs for the length of the block; then rooms go on for a bounded time.

        The block begins when LiveKit knows this server, since it gives up what it cannot dispatch
        at once; or a little later, when it does not answer.
        """
        async with background(self._server.run()):
            try:
                await self._registered()
                yield
            finally:
                await self.stop()

    async def _registered(self) -> None:
        try:
            async with asyncio.timeout(_REGISTER_S):
                await self._known.wait()
        except TimeoutError:
            log.warning("rooms.livekit_silent", url=self._url)

    async def stop(self) -> None:
        """Take no more jobs; rooms may go on for a bounded time, and are cut then."""
        # Whole seconds; none would be no bound at all.
        timeout = max(1, round(self._settings.drain_timeout.total_seconds()))
        try:
            await self._server.drain(timeout)
        except TimeoutError:
            log.warning("rooms.cut", sessions=self.sessions)
        await self._server.aclose()

    async def _accept(self, request: JobRequest) -> None:
        # By it the others know whose rooms to look after when this server dies.
        identity = agent_of(self._runtime.service.server_id) + request.id
        await request.accept(identity=identity, name="swarm")

    async def _host(self, job: JobContext) -> None:
        """In the job's thread: host one room."""
        await job.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE)
        id = await _conversation_of(job, self._settings.metadata_timeout.total_seconds())
        connect = Connections(self._url, self._key, self._secret, job.room.name)
        conversation = LocalConversation(self._runtime, self._home, id)
        host = RoomHost(job.room, conversation, connect, self._plugins)
        rooms, room = self._runtime.rooms, None
        if rooms is not None:
            identity = job.room.local_participant.identity
            room = await in_loop(self._home, rooms.hosted(job.room.name, identity))
        log.info("room.hosted", room=job.room.name, conversation_id=id)
        try:
            if await host.run() and rooms is not None and room is not None:
                await in_loop(self._home, rooms.over(room))
        finally:
            log.info("room.left", room=job.room.name, conversation_id=id)
            job.shutdown("the room is over")


async def _conversation_of(job: JobContext, timeout_s: float) -> str:
    """Return the conversation: of the job, else of its room, which may name it a little later.

    Raises:
        NoConversation: neither names one in time.
    """
    named = named_in(job.job.metadata, _ID) or named_in(job.room.metadata, _ID)
    if named is not None:
        return named
    changed = asyncio.Event()
    job.room.on("room_metadata_changed", lambda *_: changed.set())
    try:
        async with asyncio.timeout(timeout_s):
            while (named := named_in(job.room.metadata, _ID)) is None:
                await changed.wait()
                changed.clear()
    except TimeoutError as exc:
        raise NoConversation(job.room.name) from exc
    return named
