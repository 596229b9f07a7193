"""A server with a bot that tells a long story aloud, for a process of its own that is killed.

`python -m tests.support.speaking DATABASE_URL REDIS_URL` begins the conversation "c", asks, and
speaks until somebody ends it.
"""

import asyncio
import sys

from src.swarm.providers import Text
from src.swarm.shapes.commands import ChangeStatus, Create, NewParticipant
from tests.support.cluster_runtimes import SHORT, open_members
from tests.support.loudspeaker import Loudspeaker
from tests.support.rooms import Voice

SENTENCE = "So it was. "
STORY = SENTENCE * 100


async def speak(database_url: str, redis_url: str) -> None:
    """Speak until cancelled."""
    voices = {"test/voice": Voice(Text(STORY))}
    async with open_members(database_url, redis_url, 1, providers=voices, **SHORT) as [member]:
        service = member.service
        bot = b'{"name": "Scout", "providers": {"llm": "test/voice"}}'
        await service.configs.create("bot", "scout", bot, "ada")
        people = (NewParticipant("ada", "person", "Ada"), NewParticipant("scout", "bot", "Scout"))
        new = Create("c", participants=people)
        await service.submit_here("c", new, key="create", actor="ada", create=True)
        await service.submit_here("c", ChangeStatus("start"), key="start", actor="ada")
        async with member.runtime.host.staged("c", Loudspeaker()):
            await member.say("c", "hello", key="hello")
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(speak(*sys.argv[1:]))
