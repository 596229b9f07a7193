"""Room and conversation are brought together; what one of them waits for holds the other not up."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

from src.agents.attendance import Attendance
from src.agents.ears import Ears
from src.agents.port import Floor
from src.agents.providers.models import Models
from src.agents.providers.phrases import PhraseHearing
from src.agents.providers.plugins import Plugins
from src.agents.voices import Voices
from src.state.models import Event, Version
from src.swarm.configs.bots import ProviderNames
from src.swarm.dialogue.stage import Stage
from src.swarm.pending import PendingEvent
from src.swarm.shapes.commands import Command
from src.swarm.shapes.models import ConversationState, Participant
from tests.support.cluster_settings import eventually
from tests.support.venues import QuietFloor, QuietVenue, unheard

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Slow(Plugins):
    """Has one STT, which is loaded for as long as is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = threading.Event()

    def make(self, stage: str, name: str, kind: str, options: Mapping[str, Any]) -> Any:
        assert self.may_go_on.wait(60)
        return PhraseHearing()


class Talk:
    """`Conversation` of Zoe with bots that come one after the other."""

    def __init__(self) -> None:
        self.bots = ["scout"]
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    async def state(self) -> ConversationState:
        return ConversationState(
            id="c",
            version=Version(1, len(self.bots)),
            created_at=NOW,
            updated_at=NOW,
            created_by="zoe",
            participants=(
                Participant("zoe", "person", "Zoe", NOW),
                *(Participant(id, "bot", id.title(), NOW) for id in self.bots),
            ),
        )

    async def providers(self) -> ProviderNames:
        return ProviderNames(stt="near/slow")

    async def recording(self) -> bool:
        return False

    async def submit(self, command: Command, *, key: str, actor: str) -> None:
        raise AssertionError("everybody is a member")

    async def changes(self) -> AsyncGenerator[Event | PendingEvent, None]:
        while True:
            yield await self.events.get()

    def staged(self, stage: Stage) -> AbstractAsyncContextManager[Floor]:
        raise AssertionError("nobody speaks")


def came(bot: str) -> Event:
    return Event("c", Version(1, 2), f"{bot}-came", "participant_added", 1, b"{}", "zoe", NOW)


async def test_bots_come_while_what_people_are_heard_with_is_loaded() -> None:
    plugins, venue, talk = Slow(), QuietVenue("zoe"), Talk()
    async with Models(plugins, patience_s=60).running() as models:
        ears, voices = Ears(venue, QuietFloor(), unheard, models), Voices(venue, models)
        async with Attendance(venue, talk, ears, voices).kept():
            await eventually(lambda: len(voices) == 1, what="a bot")
            talk.bots.append("tutor")
            talk.events.put_nowait(came("tutor"))
            await eventually(lambda: len(voices) == 2, what="one more")
            assert not ears.people
            plugins.may_go_on.set()
            await eventually(lambda: bool(ears.people), what="an ear")
        await ears.aclose()
        await voices.aclose()
