"""A worker and the jobs that it is offered: LiveKit's side is scripted, the room is a real one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from livekit import api
from livekit.protocol import agent
from pydantic import SecretStr

from src.agents.providers.models import Models
from src.agents.settings import RoomsSettings
from src.agents.worker import Worker
from src.swarm.rooms.protocols import AGENT, agent_of
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.shapes.commands import Create, NewParticipant
from tests.support.cluster_runtimes import Member, open_members
from tests.support.cluster_settings import eventually
from tests.support.job_offers import JobOffers, job_offers
from tests.support.livekit import needs_livekit

ROOM, JOB = "lesson", json.dumps({"conversation_id": "c"})
FULL, FREE = agent.WorkerStatus.WS_FULL, agent.WorkerStatus.WS_AVAILABLE

pytestmark = needs_livekit


@pytest.fixture
async def offers() -> AsyncIterator[JobOffers]:
    async with job_offers() as offers:
        yield offers


@pytest.fixture
async def member(database_url: str, redis_url: str) -> AsyncIterator[Member]:
    """A server with the conversation "c"."""
    async with open_members(database_url, redis_url, 1) as [member]:
        new = Create("c", participants=(NewParticipant("scout", "bot", "Scout"),))
        await member.service.submit_here("c", new, key="create", actor="ada", create=True)
        yield member


def worker_of(member: Member, offers: JobOffers) -> Worker:
    """Make a worker with one place, which leaves its room at once when it stops."""
    settings = RoomsSettings(sessions=1, drain_timeout=timedelta(seconds=1))
    account = LiveKitSettings(
        url=offers.url, api_key="key", api_secret=SecretStr("secret of thirty-two characters!")
    )
    return Worker(member.runtime, settings, account, Models())


async def test_worker_that_is_full_leaves_a_job_to_others_and_does_not_end_it(
    member: Member, offers: JobOffers, livekit: LiveKitSettings
) -> None:
    """An answer that ends the dispatch would leave the room without its swarm for ever."""
    url, key, secret = livekit.account
    async with worker_of(member, offers).running():
        assert offers.agent_name == AGENT
        job, answer = await offers.offer(ROOM, JOB)
        assert (answer.available, answer.terminate) == (True, False)
        assert answer.participant_identity == agent_of(member.service.server_id) + job.id

        token = (
            api.AccessToken(key, secret)
            .with_identity(answer.participant_identity)
            .with_kind("agent")
            .with_grants(api.VideoGrants(room_join=True, room=ROOM, agent=True))
        )
        await offers.assign(job, url, token.to_jwt())
        await eventually(
            lambda: offers.status is not None and offers.status.status == FULL,
            within_s=20,
            what="the worker, full",
        )
        _, answer = await offers.offer("another", JOB)
        assert (answer.available, answer.terminate) == (False, False)


async def test_worker_that_is_told_to_stop_says_so_and_takes_no_job(
    member: Member, offers: JobOffers
) -> None:
    worker = worker_of(member, offers)
    async with worker.running():
        await eventually(
            lambda: offers.status is not None and offers.status.status == FREE, what="free"
        )
    assert offers.status is not None
    assert offers.status.status == FULL
    assert worker.places().capacity == 0
