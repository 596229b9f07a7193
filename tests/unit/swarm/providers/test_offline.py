"""The offline provider plays the bot's script, the same way each time."""

from __future__ import annotations

import asyncio

from src.swarm.configs.bots import BotConfig, ProviderNames
from src.swarm.providers import Outcome, ReplyPart, ReplyRequest, Text, ToolCall
from src.swarm.providers.offline import OfflineProvider
from src.swarm.rules.lessons import teaching
from src.swarm.shapes.config import Config
from src.swarm.shapes.models import Tool
from tests.support.clock import virtual_time
from tests.unit.swarm.given import Story, raw
from tests.unit.swarm.rules.teaching import taught

NOTE = Tool("blackboard_set")


def scripted(script: object) -> BotConfig:
    providers = ProviderNames(options=raw({"llm": script}))
    return BotConfig("Scout", goal="Find the way.", role="guide", providers=providers)


async def reply(
    bot: BotConfig, story: Story, text: str, tools: tuple[Tool, ...] = ()
) -> list[ReplyPart]:
    turn = story.says("ada", text)
    request = ReplyRequest("scout", bot, story.state, turn, tools)
    parts = [part async for part in OfflineProvider().generate(request)]
    assert parts == [part async for part in OfflineProvider().generate(request)]
    return parts


async def test_a_template_may_use_all_of_its_places() -> None:
    bot = scripted({"default": "{speaker}|{text}|{goal}|{bot}|{role}|{turn}|{people}|{bots}"})

    parts = await reply(bot, Story(Config(goal="Learn.")), "Hi.")

    assert parts == [Text("Ada|Hi.|Learn.|Scout|guide|1|Ada, Ben|Scout, Tutor, Critic")]


async def test_without_a_goal_of_the_conversation_the_bots_own_counts() -> None:
    assert await reply(scripted({"default": "{goal}"}), Story(), "Hi.") == [Text("Find the way.")]


async def test_a_script_may_say_what_is_taught() -> None:
    bot, story = scripted({"default": "{subtopic}: {content}"}), Story()
    assert await reply(bot, story, "Hi.") == [Text(": ")]

    request = ReplyRequest(
        "scout", bot, story.state, story.says("ada"), teaching=teaching(taught())
    )
    said = [part async for part in OfflineProvider().generate(request)]
    assert said == [Text("Halves: Two parts.")]


async def test_an_echo_does_not_call_the_bots_again() -> None:
    assert await reply(scripted({"default": "{text}"}), Story(), "@all hi") == [Text("all hi")]


async def test_texts_take_turns_by_the_turns_of_the_bot() -> None:
    bot, story = scripted({"default": ["One.", "Two."]}), Story()

    assert await reply(bot, story, "Hi.") == [Text("One.")]
    story.says("scout", "One.")
    story.says("tutor", "Something else.")
    assert await reply(bot, story, "Hi.") == [Text("Two.")]


@virtual_time
async def test_an_answer_takes_its_time_and_the_same_each_time() -> None:
    bot, story = scripted({"default": "Yes.", "think_ms": [300, 800]}), Story()
    took = set()
    for number in range(20):
        turn = story.says("ada", f"Question {number}")
        request = ReplyRequest("scout", bot, story.state, turn)
        times = []
        for _ in range(2):
            began = asyncio.get_running_loop().time()
            assert [part async for part in OfflineProvider().generate(request)] == [Text("Yes.")]
            times.append(round(asyncio.get_running_loop().time() - began, 3))
        assert times[0] == times[1]
        took.add(times[0])
    assert len(took) > 10
    assert min(took) >= 0.3
    assert max(took) <= 0.8


async def test_a_call_comes_before_the_words_about_it() -> None:
    call = {"tool": "blackboard_set", "arguments": {"id": "who", "value": "{speaker}"}}
    bot = scripted({"rules": [{"when": "note", "say": "Noted.", "call": call}]})

    assert await reply(bot, Story(), "Note it.", (NOTE,)) == [
        ToolCall("blackboard_set", raw({"id": "who", "value": "Ada"})),
        Text("Noted."),
    ]


async def test_a_script_says_what_came_of_its_call_and_nothing_before() -> None:
    call = {"tool": "blackboard_set", "arguments": {"id": "who", "value": "<{outcome}>"}}
    bot = scripted({"rules": [{"when": "note", "say": "I tried: {outcome}", "call": call}]})
    story, came = Story(), [Outcome("of an earlier call")]
    turn = story.says("ada", "Note it.")
    request = ReplyRequest("scout", bot, story.state, turn, (NOTE,), outcome=lambda: came[-1])

    parts = []
    async for part in OfflineProvider().generate(request):
        parts.append(part)
        came.append(Outcome("it is too large", refused=True))

    assert parts == [
        ToolCall("blackboard_set", raw({"id": "who", "value": "<>"})),
        Text("I tried: it is too large"),
    ]


async def test_a_tool_that_the_bot_was_not_given_is_not_called() -> None:
    call = {"tool": "blackboard_set", "arguments": {}}
    bot = scripted({"rules": [{"when": "note", "say": "Noted.", "call": call}]})

    assert await reply(bot, Story(), "Note it.") == [Text("Noted.")]


async def test_a_script_may_be_silent() -> None:
    assert await reply(scripted({"default": ""}), Story(), "Hi.") == []


async def test_a_bot_without_a_script_still_answers() -> None:
    assert await reply(BotConfig("Scout"), Story(), "Hi.") == [Text("I hear you, Ada.")]


async def test_as_a_fallback_of_another_provider_it_needs_no_script() -> None:
    providers = ProviderNames(
        llm="openai/large", options=raw({"llm": {"temperature": 1}}), fallback=("offline/rules",)
    )

    parts = await reply(BotConfig("Scout", providers=providers), Story(), "Hi.")

    assert parts == [Text("I hear you, Ada.")]
