"""The worker: takes LiveKit's jobs beside the API, each in a thread of this server's process."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)

import structlog
from livekit.agents import AgentServer, AutoSubscribe, JobContext, JobExecutorType, JobRequest

from src.agents.connections import Connections
from src.agents.errors import NoConversation
from src.agents.hosting import RoomHost
from src.agents.livekit_room import LiveKitRoom
from src.agents.local import LocalConversation
from src.agents.news import News
from src.agents.people import named_in
from src.agents.providers.models import Models
from src.agents.recording.keeping import KeptAtHome
from src.agents.recording.recorder import Recorder
from src.agents.recording.shelf import Shelf
from src.agents.settings import RoomsSettings
from src.agents.threads import in_loop
from src.state.background import background
from src.state.models import Places
from src.swarm.opened import Runtime
from src.swarm.rooms.protocols import AGENT, agent_of
from src.swarm.rooms.settings import LiveKitSettings

log = structlog.get_logger(__name__)

_ID = "conversation_id"
_REGISTER_S = 5.0
_SAMPLE_S, _SAMPLES = 0.5, 6
"""LiveKit is told of a place that came free within two and a half seconds."""
_LEAVE_S = 8.0
"""How long rooms may take to be left, and to be given to others, when this server stops."""
_FOR_EVER = 1_000_000_000
"""Tries to reach LiveKit, ten seconds apart."""


class Worker:
    """Hosts rooms on this server."""

    def __init__(
        self,
        runtime: Runtime,
        settings: RoomsSettings,
        livekit: LiveKitSettings,
        models: Models,
    ) -> None:
        self._runtime, self._settings, self._models = runtime, settings, models
        self._url, self._key, self._secret = livekit.account
        self._home = asyncio.get_running_loop()
        self._stopping = False
        self._lately = deque([0], _SAMPLES)
        self._news = Counter[str]()
        """Data messages to rooms, by what became of them."""
        runtime.status.counted.append(
            lambda: {f"news_{what}": self._news[what] for what in ("sent", "lost")}
        )
        self._shelf: Shelf | None = None
        """None without a place for files: nothing is recorded."""
        if runtime.files is not None:
            self._shelf = Shelf(runtime.files, settings.recording_timeout)
            runtime.status.bounded.append(self._shelf.buffers)
            runtime.status.counted.append(self._shelf.counts)
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
        self._hosts: dict[asyncio.Task[None], RoomHost] = {}
        """What is hosted, each in a job's thread and loop."""
        self._known = asyncio.Event()
        self._server.on("worker_registered", lambda *_: self._known.set())
        self._server.rtc_session(self._host, agent_name=AGENT, on_request=self._accept)

    def load(self) -> float:
        """Return which part of its places is taken, 0.0 to 1.0."""
        return min(1.0, self.sessions / self._settings.sessions)

    def places(self) -> Places:
        """Return what the others may count on.

        A room that ended counts for as long as LiveKit may not have heard that it did: whoever is
        sent here meanwhile would be taken by nobody.
        """
        capacity = 0 if self._stopping else self._settings.sessions
        return Places(capacity, max(self.sessions, *self._lately))

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
        async with AsyncExitStack() as stack:
            if self._shelf is not None:
                await stack.enter_async_context(self._shelf.running())
            await stack.enter_async_context(background(self._server.run()))
            try:
                await self._registered()
                self._runtime.workers.offer(self.places)
                await self._runtime.workers.tell_free()
                async with background(self._watch_places()):
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
        """Take no more jobs; rooms may go on for a bounded time, and are other servers' then."""
        self._stopping = True
        await self._runtime.workers.tell()
        # Whole seconds; none would be no bound at all.
        timeout = max(1, round(self._settings.drain_timeout.total_seconds()))
        try:
            await self._server.drain(timeout)
        except TimeoutError:
            await self._leave()
        await self._server.aclose()

    async def _watch_places(self) -> None:
        told = self.places()
        while True:
            await asyncio.sleep(_SAMPLE_S)
            self._lately.append(self.sessions)
            if told != (told := self.places()):
                await self._runtime.workers.tell_free()

    async def _leave(self) -> None:
        """Leave all rooms while LiveKit knows this server: else it sends some on, and some not."""
        hosts = list(self._hosts.items())
        left = (in_loop(task.get_loop(), _left(host, task)) for task, host in hosts)
        try:
            async with asyncio.timeout(_LEAVE_S):
                # A job that ends by itself meanwhile takes its loop along.
                await asyncio.gather(*left, return_exceptions=True)
        except TimeoutError:
            log.warning("rooms.cut", sessions=self.sessions)

    async def _accept(self, request: JobRequest) -> None:
        # By it the others know whose rooms to look after when this server dies.
        identity = agent_of(self._runtime.service.server_id) + request.id
        await request.accept(identity=identity, name="swarm")

    async def _host(self, job: JobContext) -> None:
        """In the job's thread: host one room."""
        began = time.monotonic()
        await job.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE)
        connected = time.monotonic()
        id = await _conversation_of(job, self._settings.metadata_timeout.total_seconds())
        connect = Connections(self._url, self._key, self._secret, job.room.name)
        conversation = LocalConversation(self._runtime, self._home, id)
        host = RoomHost(LiveKitRoom(job.room, connect), conversation, self._models)
        # In this order: who is on the way to a place is counted until it is there.
        await in_loop(self._home, self._runtime.workers.tell())
        rooms, task = self._runtime.rooms, asyncio.current_task()
        assert task is not None
        room, identity = None, job.room.local_participant.identity
        if rooms is not None:
            room = await in_loop(self._home, rooms.hosted(job.room.name, identity))
        log.info(
            "room.hosted",
            room=job.room.name,
            conversation_id=id,
            took_s=round(time.monotonic() - began, 3),
            entering_s=round(connected - began, 3),
        )
        self._hosts[task] = host
        try:
            async with self._recorded(job, conversation):
                async with News(job.room, conversation, self._count_news).told():
                    is_over = await host.run()
                # Before the recording ends: that waits for a disk, and the room for its next host.
                if rooms is not None and room is not None and is_over:
                    await in_loop(self._home, rooms.over(room))
                elif rooms is not None and job.room.isconnected():
                    await in_loop(self._home, rooms.pass_on(job.room.name, identity))
        finally:
            del self._hosts[task]
            log.info("room.left", room=job.room.name, conversation_id=id)
            await connect.aclose()
            job.shutdown("the room is over")

    def _count_news(self, sent: bool) -> None:
        """From a job's thread: count a data message."""
        self._home.call_soon_threadsafe(self._news.update, ("sent" if sent else "lost",))

    def _recorded(
        self, job: JobContext, conversation: LocalConversation
    ) -> AbstractAsyncContextManager[None]:
        if self._shelf is None:
            return nullcontext()
        keeping = KeptAtHome(self._shelf, self._home, conversation.id)
        longest = self._settings.recording_length
        return Recorder(job.room, job.job.room.sid, conversation, keeping, longest).running()


async def _left(host: RoomHost, task: asyncio.Task[None]) -> None:
    """In the job's loop: leave a room, and wait until that is done."""
    host.leave()
    await asyncio.wait({task})


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
