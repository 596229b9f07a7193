"""A language model by name, against a local server: what it is asked, and what becomes of it."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from livekit.plugins import anthropic, openai
from msgspec import Raw
from msgspec.structs import replace

from src.agents.errors import ProviderMissing
from src.agents.providers.language import LanguageModel
from src.agents.providers.models import Models
from src.agents.providers.plugins import Plugins
from src.agents.settings import NamedProvider
from src.swarm.configs.bots import BotConfig
from src.swarm.providers import Outcome, ReplyPart, ReplyRequest, Text, ToolCall
from src.swarm.rules.lessons import teaching
from src.swarm.rules.tools import BUILT_IN
from src.swarm.shapes.config import Config, LlmConfig
from src.swarm.shapes.models import ToolUse
from tests.support.anthropic_server import anthropic_server, text, use
from tests.support.asking import HELLO, NAME, message, request
from tests.support.openai_server import OpenAiServer, call, openai_server
from tests.unit.swarm.given import raw
from tests.unit.swarm.rules.teaching import taught

# As a server does it: a plugin can be loaded by the main thread alone.
PLUGINS = (anthropic, openai)


@pytest.fixture
async def server() -> AsyncIterator[OpenAiServer]:
    async with openai_server() as server:
        yield server


@pytest.fixture
async def models(server: OpenAiServer) -> AsyncIterator[Models]:
    options = {"base_url": server.url, "api_key": "none"}
    given = {"near": NamedProvider(plugin="openai", options=options)}
    async with Models(Plugins(given)).running() as models:
        yield models


@pytest.fixture
def model(models: Models) -> LanguageModel:
    return LanguageModel(NAME, models)


async def parts(model: LanguageModel, asked: ReplyRequest) -> list[ReplyPart]:
    return [part async for part in model.generate(asked)]


async def test_reply_comes_in_pieces(server: OpenAiServer, model: LanguageModel) -> None:
    server.replies = [[{"content": "Good "}, {"content": "day"}]]
    assert await parts(model, request(HELLO)) == [Text("Good "), Text("day")]


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
    await parts(model, request(*turns))
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


async def test_model_reads_the_calls_of_its_earlier_turns_each_with_its_result_or_not_at_all(
    server: OpenAiServer, model: LanguageModel
) -> None:
    server.replies = [[{"content": "Yes."}]]
    uses = (
        ToolUse("t:1", "weather", raw({"at": "sea"}), raw("rain")),
        ToolUse("t:2", "weather", raw({"at": "town"})),
        ToolUse("t:3", "look it up", result=raw(1)),
        ToolUse("t:4", "tides", result=raw({"error": "no such place"})),
    )
    turns = (
        replace(message("1", "tutor", "bot", "It rains."), tool_calls=uses),
        replace(message("2", "scout", "bot", "It does."), tool_calls=uses),
        message("3", "zoe", "person", "Scout?"),
    )
    await parts(model, request(*turns))
    [asked] = server.asked
    others, *calls, answer, last = asked["messages"][1:]
    assert [one["content"] for one in (others, answer, last)] == [
        "[Tutor] It rains.",
        "It does.",
        "[Zoe] Scout?",
    ]
    made = [one for call in calls for one in call.get("tool_calls", ())]
    told = {one["tool_call_id"]: one["content"] for one in calls if one["role"] == "tool"}
    assert [(one["function"]["name"], told[one["id"]]) for one in made] == [
        ("weather", "rain"),
        ("tides", "no such place"),
    ]
    assert made[0]["function"]["arguments"] == '{"at":"sea"}'
    assert len(told) == 2


async def test_no_two_calls_of_earlier_turns_have_one_id(
    server: OpenAiServer, model: LanguageModel
) -> None:
    """Also where calls without a result are left out between them."""
    server.replies = [[{"content": "Yes."}]]
    unknown, known = ToolUse("a", "tides"), ToolUse("b", "tides", result=raw("high"))
    turns = (
        replace(message("1", "scout", "bot", "High."), tool_calls=(*[unknown] * 4, known)),
        replace(message("2", "scout", "bot", "Still."), tool_calls=(known, known)),
        message("3", "zoe", "person", "Scout?"),
    )
    await parts(model, request(*turns))
    [asked] = server.asked
    told = [one["tool_call_id"] for one in asked["messages"] if one["role"] == "tool"]
    assert len(told) == len(set(told)) == 3


async def test_model_of_a_lesson_reads_what_it_teaches(
    server: OpenAiServer, model: LanguageModel
) -> None:
    server.replies = [[{"content": "A half."}], [{"content": "Hello."}]]
    await parts(model, replace(request(HELLO), teaching=teaching(taught())))
    await parts(model, request(HELLO))
    lesson, talk = (asked["messages"][0]["content"] for asked in server.asked)
    assert "Subtopic 1 of 3: Halves, level easy. Two parts." in lesson
    assert "ubtopic" not in talk


async def test_call_of_a_tool_comes_as_one_and_the_model_is_asked_again(
    server: OpenAiServer, model: LanguageModel
) -> None:
    server.replies = [
        [call("blackboard_set", {"id": "rain", "value": True})],
        [{"content": "Noted."}],
    ]
    called, text = await parts(model, request(HELLO))
    assert isinstance(called, ToolCall)
    assert called.name == "blackboard_set"
    assert msgspec.json.decode(called.arguments) == {"id": "rain", "value": True}
    assert text == Text("Noted.")
    first, second = server.asked
    assert {tool["function"]["name"] for tool in first["tools"]} == {t.name for t in BUILT_IN}
    assert second["messages"][-1]["role"] == "tool"


async def test_model_is_told_what_came_of_each_call(
    server: OpenAiServer, model: LanguageModel
) -> None:
    server.replies = [
        [call("blackboard_set", {"id": "rain"})],
        [call("pass_baton", {})],
        [{"content": "Noted."}],
    ]
    came = [Outcome("value is missing", refused=True), Outcome("done")]
    outcome = iter(came).__next__
    await parts(model, replace(request(HELLO), outcome=outcome))
    told = [one["content"] for one in server.asked[-1]["messages"] if one["role"] == "tool"]
    assert told == ["value is missing", "done"]


async def test_model_that_only_calls_tools_is_not_asked_for_ever(
    server: OpenAiServer, model: LanguageModel
) -> None:
    server.replies = [[call("pass_baton", {})] for _ in range(10)]
    assert len(await parts(model, request(HELLO))) == 3


async def test_connections_are_kept_for_the_same_options(
    server: OpenAiServer, model: LanguageModel, models: Models
) -> None:
    server.replies = [[{"content": "a"}] for _ in range(3)]
    for options in ({}, {}, {"temperature": 0.5}):
        await parts(model, request(HELLO, **options))
    assert [one.name for one in models.report("here").models] == [NAME, NAME]
    assert models.report("here").loads == 2
    assert [one.get("temperature") for one in server.asked] == [None, None, 0.5]


async def test_options_are_inherited_where_the_bot_names_no_model(
    server: OpenAiServer, model: LanguageModel
) -> None:
    server.replies = [[{"content": "a"}]]
    asked = request(HELLO)
    options = {"temperature": 0.25}
    config = Config(llm_config=LlmConfig(NAME, options=Raw(msgspec.json.encode(options))))
    asked = replace(asked, bot=BotConfig("Scout"), state=replace(asked.state, config=config))
    await parts(model, asked)
    assert server.asked[0]["temperature"] == 0.25


async def test_model_of_a_package_that_is_missing_names_it() -> None:
    with pytest.raises(ProviderMissing, match="livekit-plugins-nowhere"):
        await parts(LanguageModel("nowhere/large", Models()), request(HELLO))


async def test_plugin_besides_openai_reads_the_same_conversation_and_calls_tools() -> None:
    async with anthropic_server() as server:
        server.replies = [
            [text("Let me "), use("blackboard_set", id="rain", value=True)],
            [use("blackboard_set", id="rain", value=True)],
            [text("Noted.")],
        ]
        given = NamedProvider(
            plugin="anthropic", options={"api_key": "ours", "base_url": server.url}
        )
        async with Models(Plugins({"claude": given})).running() as models:
            model = LanguageModel("claude/local", models)
            turns = (
                HELLO,
                message("2", "scout", "bot", "Welcome."),
                message("3", "zoe", "person", "?"),
            )
            said = await parts(model, request(*turns))
            assert [one.text for one in said if isinstance(one, Text)] == ["Let", " me "]
            [called] = [one for one in said if isinstance(one, ToolCall)]
            assert (called.name, msgspec.json.decode(called.arguments)) == (
                "blackboard_set",
                {"id": "rain", "value": True},
            )
            # A model that said nothing beside its call is asked again, with what became of it.
            assert [one for one in await parts(model, request(HELLO)) if isinstance(one, Text)] == [
                Text("Not"),
                Text("ed."),
            ]
        first, _, third = server.asked
        assert {tool["name"] for tool in first["tools"]} == {tool.name for tool in BUILT_IN}
        assert "You are Scout" in first["system"][0]["text"]
        assert [one["role"] for one in first["messages"]] == ["user", "assistant", "user"]
        assert third["messages"][-1]["content"][0]["type"] == "tool_result"
        assert server.keys == ["ours"] * 3
