"""A language model by name, against a local server: what it is asked, and what becomes of it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from src.agents.errors import BadProvider, ProviderMissing
from src.agents.providers.language import LanguageModel
from src.state.models import Version
from src.swarm.configs.bots import BotConfig, ProviderNames
from src.swarm.providers import ReplyPart, ReplyRequest, Text, ToolCall
from src.swarm.rules.tools import BUILT_IN
from src.swarm.shapes.models import (
    Author,
    Config,
    ConversationState,
    LlmConfig,
    Message,
    Participant,
    Role,
)
from tests.support.openai_server import OpenAiServer, call, openai_server

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "openai/local"


@pytest.fixture
async def server() -> AsyncIterator[OpenAiServer]:
    async with openai_server() as server:
        yield server


def message(id: str, who: str, kind: Any, text: str, **more: Any) -> Message:
    role: Role = "assistant" if kind == "bot" else "user"
    author = Author(kind, who, who.title())
    return Message(id, author, role, text, NOW, NOW, **more)


def request(server: OpenAiServer, *turns: Message, **options: Any) -> ReplyRequest:
    given = {"base_url": server.url, "api_key": "none", **options}
    providers = ProviderNames(llm=NAME, options=Raw(msgspec.json.encode({"llm": given})))
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


@pytest.fixture
async def model() -> AsyncIterator[LanguageModel]:
    model = LanguageModel(NAME)
    yield model
    await model.aclose()


async def parts(model: LanguageModel, asked: ReplyRequest) -> list[ReplyPart]:
    return [part async for part in model.generate(asked)]


HELLO = message("1", "zoe", "person", "Hello")


async def test_reply_comes_in_pieces(server: OpenAiServer, model: LanguageModel) -> None:
    server.replies = [[{"content": "Good "}, {"content": "day"}]]
    assert await parts(model, request(server, HELLO)) == [Text("Good "), Text("day")]


async def test_model_reads_who_it_is_and_who_said_what(
    server: OpenAiServer, model: LanguageModel
) -> None:
    server.replies = [[{"content": "Yes."}]]
    turns = (
        message("1", "zoe", "person", "Hello all"),
        message("2", "scout", "bot", "Welcome."),
        message("3", "tutor", "bot", "I was cut off", interrupted=True, spoken_until=5),
        message("4", "zoe", "person", "Scout?"),
    )
    await parts(model, request(server, *turns))
    [asked] = server.asked
    system, *rest = [(one["role"], one["content"]) for one in asked["messages"]]
    assert system[0] == "system"
    for words in ("You are Scout, guide.", "Be brief.", "See the town", "Zoe (person)"):
        assert words in system[1]
    assert rest == [
        ("user", "[Zoe] Hello all"),
        ("assistant", "Welcome."),
        ("user", "[Tutor] I was"),
        ("user", "[Zoe] Scout?"),
    ]


async def test_call_of_a_tool_comes_as_one_and_the_model_is_asked_again(
    server: OpenAiServer, model: LanguageModel
) -> None:
    server.replies = [
        [call("blackboard_set", {"id": "rain", "value": True})],
        [{"content": "Noted."}],
    ]
    called, text = await parts(model, request(server, HELLO))
    assert isinstance(called, ToolCall)
    assert called.name == "blackboard_set"
    assert msgspec.json.decode(called.arguments) == {"id": "rain", "value": True}
    assert text == Text("Noted.")
    first, second = server.asked
    assert {tool["function"]["name"] for tool in first["tools"]} == {t.name for t in BUILT_IN}
    assert second["messages"][-1]["role"] == "tool"


async def test_model_that_only_calls_tools_is_not_asked_for_ever(
    server: OpenAiServer, model: LanguageModel
) -> None:
    server.replies = [[call("pass_baton", {})] for _ in range(10)]
    assert len(await parts(model, request(server, HELLO))) == 3


async def test_connections_are_kept_for_the_same_options(
    server: OpenAiServer, model: LanguageModel
) -> None:
    server.replies = [[{"content": "a"}] for _ in range(3)]
    for options in ({}, {}, {"temperature": 0.5}):
        await parts(model, request(server, HELLO, **options))
    assert len(model) == 2
    assert [one.get("temperature") for one in server.asked] == [None, None, 0.5]


async def test_options_are_inherited_where_the_bot_names_no_model(
    server: OpenAiServer, model: LanguageModel
) -> None:
    server.replies = [[{"content": "a"}]]
    asked = request(server, HELLO)
    options = {"base_url": server.url, "api_key": "none", "temperature": 0.25}
    config = Config(llm_config=LlmConfig(NAME, options=Raw(msgspec.json.encode(options))))
    asked = replace(asked, bot=BotConfig("Scout"), state=replace(asked.state, config=config))
    await parts(model, asked)
    assert server.asked[0]["temperature"] == 0.25


async def test_key_of_the_server_goes_to_no_address_that_a_config_names(
    server: OpenAiServer, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the server's own")
    asked = request(server, HELLO)
    options = Raw(msgspec.json.encode({"llm": {"base_url": server.url}}))
    asked = replace(
        asked, bot=replace(asked.bot, providers=ProviderNames(NAME, NAME, options=options))
    )
    with pytest.raises(BadProvider, match="base_url needs an api_key"):
        await parts(model, asked)
    assert server.asked == []


async def test_model_of_a_package_that_is_missing_names_it() -> None:
    async with openai_server() as server:
        with pytest.raises(ProviderMissing, match="livekit-plugins-nowhere"):
            await parts(LanguageModel("nowhere/large"), request(server, HELLO))
