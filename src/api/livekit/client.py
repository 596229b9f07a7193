"""`Media` on livekit-api. Its own repetitions are for LiveKit's cloud alone, so these are ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import aiohttp
import msgspec
import structlog
from livekit import api
from livekit.protocol.agent import JobStatus
from livekit.protocol.agent_dispatch import AgentDispatch
from livekit.protocol.models import Room
from livekit.protocol.room import UpdateRoomMetadataRequest
from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

from src.swarm.errors import MediaUnavailable
from src.swarm.rooms.protocols import AGENT, AGENT_PREFIX, PATIENCE, RECORDING, LiveRoom
from src.swarm.rooms.settings import LiveKitSettings

log = structlog.get_logger(__name__)

T = TypeVar("T")

_TRIES_IN_TIME = 3
"""One try that hangs must leave time for others."""
_NOT_FOUND = 404
_AT_WORK = (JobStatus.JS_PENDING, JobStatus.JS_RUNNING)


def metadata_of(conversation_id: str) -> str:
    """Return the metadata of a room, and of the job that hosts its swarm."""
    return msgspec.json.encode({"conversation_id": conversation_id}).decode()


class LiveKit:
    """LiveKit's server API. Every method takes `settings.timeout` at most, in several tries."""

    def __init__(self, server: api.LiveKitAPI, settings: LiveKitSettings) -> None:
        self._api = server
        self._settings = settings
        self._timeout_s = settings.timeout.total_seconds()

    async def open(self, room_id: str, conversation_id: str) -> LiveRoom:
        wanted = api.CreateRoomRequest(
            name=room_id,
            metadata=metadata_of(conversation_id),
            empty_timeout=int(self._settings.empty_timeout.total_seconds()),
            departure_timeout=int(self._settings.departure_timeout.total_seconds()),
        )
        room = await self._insist(lambda: self._api.room.create_room(wanted))
        if room.metadata != wanted.metadata:
            # A room that lives already keeps what it has: say of somebody whom an old token let in.
            renewed = UpdateRoomMetadataRequest(room=room_id, metadata=wanted.metadata)
            await self._insist(lambda: self._api.room.update_room_metadata(renewed))
        return _live(room)

    async def close(self, room_id: str) -> None:
        async def delete() -> None:
            try:
                await self._api.room.delete_room(api.DeleteRoomRequest(room=room_id))
            except api.ServerError as error:
                if error.status != _NOT_FOUND:
                    raise

        await self._insist(delete)

    async def recorded(self, room_id: str) -> bool:
        async def look() -> bool:
            wanted = api.ListParticipantsRequest(room=room_id)
            try:
                found = await self._api.room.list_participants(wanted)
            except api.ServerError as error:
                if error.status != _NOT_FOUND:
                    raise
                return False
            agents = (one for one in found.participants if one.identity.startswith(AGENT_PREFIX))
            return any(one.attributes.get(RECORDING) == "true" for one in agents)

        return await self._insist(look)

    async def list(self) -> Sequence[LiveRoom]:
        found = await self._insist(lambda: self._api.room.list_rooms(api.ListRoomsRequest()))
        return [_live(room) for room in found.rooms]

    async def dispatched(self, room_id: str, *, anew: bool) -> str | None:
        kept = [
            one
            for one in await self._insist(lambda: self._ways(room_id))
            if _counts(one, anew=anew, lost="")
        ]
        return kept[0].id if kept else None

    async def _ways(self, room_id: str) -> Sequence[AgentDispatch]:
        found = await self._api.agent_dispatch.list_dispatch(room_id)
        return [one for one in found if one.agent_name == AGENT]

    async def dispatch(
        self, room_id: str, conversation_id: str, *, anew: bool, lost: str = ""
    ) -> str:
        async def look_and_send() -> str:
            # Looked at in every try: one whose answer was lost may have been made.
            ways, found = self._api.agent_dispatch, await self._ways(room_id)
            kept = [one for one in found if _counts(one, anew=anew, lost=lost)]
            for one in found:
                if one is not next(iter(kept), None):
                    await ways.delete_dispatch(one.id, room_id)
            if kept:
                return kept[0].id
            wanted = api.CreateAgentDispatchRequest(
                agent_name=AGENT, room=room_id, metadata=metadata_of(conversation_id)
            )
            return (await ways.create_dispatch(wanted)).id

        return await self._insist(look_and_send)

    async def _insist(self, trip: Callable[[], Awaitable[T]]) -> T:
        """Make a trip, and make it again while it may help and there is time.

        Raises:
            MediaUnavailable: it never came to an answer, or was refused.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_random_exponential(multiplier=0.1, max=1.0),
            reraise=True,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                async for attempt in retrying:
                    with attempt:
                        return await trip()
                raise AssertionError("it is tried until there is an answer")
        except api.ServerError as error:
            log.warning("livekit.refused", code=error.code, status=error.status)
            raise MediaUnavailable(
                "LiveKit refuses what we ask; the operator finds why in the log"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("livekit.silent", error=str(error) or type(error).__name__)
            raise MediaUnavailable("LiveKit does not answer; try again") from error


def _may_pass(error: BaseException) -> bool:
    """Whether another try may fare better: what LiveKit itself refuses it refuses again."""
    if isinstance(error, api.ServerError):
        return error.status >= 500
    return isinstance(error, aiohttp.ClientError | TimeoutError | OSError)


def _counts(way: AgentDispatch, *, anew: bool, lost: str) -> bool:
    """Whether a dispatch serves its room: somebody is at work, or may still be found for it."""
    state = way.state
    if state.deleted_at:
        return False
    if lost:
        # Of a server that was killed LiveKit goes on saying that its job runs, or says nothing of
        # it yet; an agent of ours has the job's id at the end of its name.
        others = {job.state.status for job in state.jobs if not lost.endswith(job.id)}
        return not others.isdisjoint(_AT_WORK)
    if not state.jobs:
        return time.time() - state.created_at / 1e9 < PATIENCE.total_seconds()
    statuses = {job.state.status for job in state.jobs}
    return not statuses.isdisjoint(_AT_WORK) or (not anew and JobStatus.JS_SUCCESS in statuses)


def _live(room: Room) -> LiveRoom:
    # Old servers tell whole seconds only.
    began = room.creation_time_ms or room.creation_time * 1000
    return LiveRoom(room.name, room.sid, began, room.num_participants)


@asynccontextmanager
async def open_livekit(settings: LiveKitSettings) -> AsyncIterator[LiveKit]:
    """Open the way to LiveKit; nothing is asked yet. Close it at the end of the block."""
    assert settings.url is not None
    assert settings.api_secret is not None
    try_s = settings.timeout.total_seconds() / _TRIES_IN_TIME
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=try_s)) as session:
        server = api.LiveKitAPI(
            settings.url,
            settings.api_key,
            settings.api_secret.get_secret_value(),
            session=session,
            failover=False,
        )
        yield LiveKit(server, settings)
