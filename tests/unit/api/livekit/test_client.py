"""Requests to LiveKit: which are made again, and what a lost answer must not double."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from google.protobuf.message import Message
from livekit import api
from livekit.protocol.agent import JobStatus
from livekit.protocol.agent_dispatch import AgentDispatch, ListAgentDispatchResponse
from livekit.protocol.room import ListRoomsResponse

from src.api.livekit.client import LiveKit, open_livekit
from src.swarm.errors import MediaUnavailable
from src.swarm.rooms.protocols import AGENT
from tests.support.livekit import settings_for

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Stub:
    """LiveKit's HTTP as a table of answers; counts what was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, Answer] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        method = request.path.rpartition("/")[2]
        self.asked[method] += 1
        return await self.answers[method](request)


def said(message: Message) -> web.Response:
    return web.Response(body=message.SerializeToString(), content_type="application/protobuf")


def failed(status: int, code: str) -> web.Response:
    return web.json_response({"code": code, "msg": "planted"}, status=status)


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
async def livekit(stub: Stub) -> AsyncIterator[LiveKit]:
    app = web.Application()
    app.router.add_post("/twirp/{tail:.*}", stub.handle)
    async with (
        TestServer(app) as server,
        open_livekit(settings_for(str(server.make_url("/")), timeout="10s")) as opened,
    ):
        yield opened


async def test_a_failure_on_livekits_side_is_tried_again(stub: Stub, livekit: LiveKit) -> None:
    """livekit-api itself tries once, unless the host is LiveKit's cloud."""

    async def third_time(_: web.Request) -> web.Response:
        if stub.asked["ListRooms"] < 3:
            return failed(503, "unavailable")
        return said(ListRoomsResponse(rooms=[api.Room(name="r-1", creation_time=7)]))

    stub.answers["ListRooms"] = third_time
    (room,) = await livekit.list()

    assert (room.id, room.began) == ("r-1", 7000)
    assert stub.asked["ListRooms"] == 3


@pytest.mark.parametrize("status", [400, 401, 403, 412])
async def test_what_livekit_refuses_is_asked_once(
    stub: Stub, livekit: LiveKit, status: int
) -> None:
    async def no(_: web.Request) -> web.Response:
        return failed(status, "planted")

    stub.answers["ListRooms"] = no
    with pytest.raises(MediaUnavailable, match="refuses") as refused:
        await livekit.list()

    assert stub.asked["ListRooms"] == 1
    assert "planted" not in str(refused.value)


async def test_a_livekit_that_hangs_is_given_up(stub: Stub) -> None:
    over = asyncio.Event()

    async def never(_: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    stub.answers["ListRooms"] = never
    app = web.Application()
    app.router.add_post("/twirp/{tail:.*}", stub.handle)
    async with TestServer(app) as server:
        settings = settings_for(str(server.make_url("/")), timeout="300ms")
        async with open_livekit(settings) as livekit:
            with pytest.raises(MediaUnavailable, match="does not answer"):
                await livekit.list()
        over.set()

    assert stub.asked["ListRooms"] >= 1


async def test_a_swarm_whose_sending_was_not_answered_is_found_and_not_sent_again(
    stub: Stub, livekit: LiveKit
) -> None:
    made: list[AgentDispatch] = []

    async def listed(_: web.Request) -> web.Response:
        return said(ListAgentDispatchResponse(agent_dispatches=made))

    async def made_and_lost(request: web.Request) -> web.StreamResponse:
        wanted = api.CreateAgentDispatchRequest.FromString(await request.read())
        one = AgentDispatch(id=f"AD_{len(made)}", agent_name=wanted.agent_name, room="r-1")
        one.state.created_at = 2**62
        made.append(one)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    stub.answers |= {"ListDispatch": listed, "CreateDispatch": made_and_lost}

    assert await livekit.dispatch("r-1", "c-1", anew=False) == "AD_0"
    assert stub.asked["CreateDispatch"] == 1


@pytest.mark.parametrize(
    ("statuses", "age_s", "anew", "kept"),
    [
        ((), 1, False, True),
        # No worker took it on: LiveKit offers it once.
        ((), 60, False, False),
        (("JS_PENDING",), 60, False, True),
        (("JS_RUNNING",), 60, True, True),
        (("JS_FAILED", "JS_RUNNING"), 60, False, True),
        (("JS_FAILED",), 60, False, False),
        (("JS_SUCCESS",), 60, False, True),
        (("JS_SUCCESS",), 60, True, False),
    ],
)
async def test_a_swarm_counts_while_somebody_is_at_work_or_may_be_found(
    stub: Stub,
    livekit: LiveKit,
    statuses: tuple[str, ...],
    age_s: float,
    anew: bool,
    kept: bool,
) -> None:
    old = dispatch_of("AD_old", statuses, age_s)

    async def listed(_: web.Request) -> web.Response:
        return said(ListAgentDispatchResponse(agent_dispatches=[old]))

    async def deleted(_: web.Request) -> web.Response:
        return said(old)

    async def created(_: web.Request) -> web.Response:
        return said(AgentDispatch(id="AD_new"))

    stub.answers |= {"ListDispatch": listed, "DeleteDispatch": deleted, "CreateDispatch": created}
    sent = await livekit.dispatch("r-1", "c-1", anew=anew)

    assert sent == ("AD_old" if kept else "AD_new")
    assert stub.asked["DeleteDispatch"] == (0 if kept else 1)


def dispatch_of(id: str, statuses: tuple[str, ...], age_s: float) -> AgentDispatch:
    """Describe a dispatch of this age whose jobs have these statuses."""
    one = AgentDispatch(id=id, agent_name=AGENT, room="r-1")
    one.state.created_at = int((time.time() - age_s) * 1e9)
    for status in statuses:
        one.state.jobs.add().state.status = getattr(JobStatus, status)
    return one
