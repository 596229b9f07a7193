"""LiveKit's side of the protocol of its workers: offers jobs, and keeps what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web
from livekit.protocol import agent, models

from tests.support.listening import listening

_ANSWER_S = 10.0


class JobOffers:
    """One worker's LiveKit."""

    def __init__(self) -> None:
        self.url = ""
        self.agent_name = ""
        self.status: agent.UpdateWorkerStatus | None = None
        """What the worker said last of itself."""
        self._socket: web.WebSocketResponse | None = None
        self._answers: dict[str, asyncio.Future[agent.AvailabilityResponse]] = {}
        self._offered = 0

    async def accept(self, request: web.Request) -> web.WebSocketResponse:
        self._socket = socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await self._take(agent.WorkerMessage.FromString(message.data))
        return socket

    async def _take(self, said: agent.WorkerMessage) -> None:
        if said.HasField("register"):
            self.agent_name = said.register.agent_name
            welcome = agent.RegisterWorkerResponse(worker_id="AW_1")
            await self._send(agent.ServerMessage(register=welcome))
        elif said.HasField("update_worker"):
            self.status = said.update_worker
        elif said.HasField("availability"):
            self._answers[said.availability.job_id].set_result(said.availability)

    async def _send(self, message: agent.ServerMessage) -> None:
        assert self._socket is not None, "no worker is connected"
        await self._socket.send_bytes(message.SerializeToString())

    async def offer(self, room: str, metadata: str) -> tuple[agent.Job, agent.AvailabilityResponse]:
        """Offer a job, and return it with the worker's answer."""
        self._offered += 1
        job = agent.Job(
            id=f"AJ_{self._offered}",
            dispatch_id=f"AD_{self._offered}",
            type=agent.JobType.JT_ROOM,
            room=models.Room(name=room, sid=f"RM_{room}"),
            agent_name=self.agent_name,
            metadata=metadata,
        )
        answer = self._answers[job.id] = asyncio.get_running_loop().create_future()
        await self._send(agent.ServerMessage(availability=agent.AvailabilityRequest(job=job)))
        async with asyncio.timeout(_ANSWER_S):
            return job, await answer

    async def assign(self, job: agent.Job, url: str, token: str) -> None:
        """Give a job to the worker that said it would take it: a room, and the way into it."""
        given = agent.JobAssignment(job=job, url=url, token=token)
        await self._send(agent.ServerMessage(assignment=given))


@asynccontextmanager
async def job_offers() -> AsyncIterator[JobOffers]:
    """Serve for the length of the block."""
    offers = JobOffers()
    app = web.Application()
    app.router.add_get("/agent", offers.accept)
    async with listening(app) as url:
        offers.url = url
        yield offers
