"""What a model is asked by a swarm: one bot's turn in a small company."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

from src.state.models import Version
from src.swarm.configs.bots import BotConfig, ProviderNames
from src.swarm.providers import ReplyRequest
from src.swarm.rules.tools import BUILT_IN
from src.swarm.shapes.config import Config
from src.swarm.shapes.models import Author, ConversationState, Message, Participant, Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "near/local"


def message(id: str, who: str, kind: Any, text: str, **more: Any) -> Message:
    role: Role = "assistant" if kind == "bot" else "user"
    author = Author(kind, who, who.title())
    return Message(id, author, role, text, NOW, NOW, **more)


def request(*turns: Message, **options: Any) -> ReplyRequest:
    providers = ProviderNames(llm=NAME, options=Raw(msgspec.json.encode({"llm": options})))
    bot = BotConfig("Scout", role="guide", instructions="Be brief.", providers=providers)
    members = (
        Participant("zoe", "person", "Zoe", NOW),
        Participant("scout", "bot", "Scout", NOW),
        Participant("tutor", "bot", "Tutor", NOW),
    )
    state = ConversationState(
        id="c",
        version=Version(1, 1),
        config=Config(goal="See the town"),
        participants=members,
        messages=turns,
        created_at=NOW,
        updated_at=NOW,
        created_by="zoe",
    )
    return ReplyRequest("scout", bot, state, turns[-1], BUILT_IN)


HELLO = message("1", "zoe", "person", "Hello")
