"""A server's conversation as a room in another loop has it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from src.agents.local import LocalConversation
from src.state.models import Event
from src.swarm.opened import Runtime
from src.swarm.shapes.commands import Delete
from tests.support.clock import advance, settle, virtual_time
from tests.support.rooms import Swarm, SwarmServer


def conversation_of(server: SwarmServer) -> LocalConversation:
    runtime = cast("Runtime", SimpleNamespace(service=server.service))
    return LocalConversation(runtime, asyncio.get_running_loop(), "c")


@virtual_time
async def test_changes_go_on_after_postgresql_has_failed_over_and_end_with_the_conversation() -> (
    None
):
    async with Swarm().open("a") as [server]:
        await server.begin()
        heard: list[str] = []

        async def follow() -> None:
            async for event in conversation_of(server).changes():
                assert isinstance(event, Event)
                heard.append(event.type)

        following = asyncio.create_task(follow())
        await settle()
        await server.say("one")
        await settle()
        server.feed.branched()
        await advance(1)
        await server.say("two")
        await settle()
        assert heard == ["message_added", "message_added"]
        await server.submit(Delete(), key="delete")
        server.feed.erased("c")
        async with asyncio.timeout(5):
            await following
    assert len(server.feed) == 0
