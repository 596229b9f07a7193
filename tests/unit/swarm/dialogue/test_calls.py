"""What a bot calls within a reply is done once, and it learns what came of it."""

from __future__ import annotations

from msgspec import Raw

from src.swarm.providers import Outcome, Text, ToolCall
from src.swarm.shapes.config import Config, Scheduling
from src.swarm.shapes.limits import Limits
from tests.support.clock import advance, virtual_time
from tests.support.rooms import SCOUT, Swarm, Voice
from tests.unit.swarm.given import raw


async def outcomes(config: Config, *calls: ToolCall) -> list[Outcome]:
    """Have a bot make these calls in one reply; return what it was told of each."""
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(*calls, Text("So be it."))
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT, config=config)
        await a.say("hello")
        await advance(1)
    assert swarm.said()[-1] == ("scout", "So be it.")
    return voice.outcomes


@virtual_time
async def test_bot_learns_what_came_of_each_call_before_it_goes_on() -> None:
    told = await outcomes(
        Config(),
        ToolCall("blackboard_set", raw({"id": "rain", "value": True})),
        ToolCall("blackboard_increment", raw({"id": "rain"})),
        ToolCall("blackboard_set", Raw(b"[]")),
        ToolCall("weather"),
    )
    assert [one.refused for one in told] == [False, True, True, False]
    assert (told[0].text, told[3].text) == ("done", "asked for")
    assert "rain is true or false, not a number" in told[1].text
    assert told[2].text.startswith("blackboard_set: Expected `object`")


@virtual_time
async def test_bot_learns_that_its_call_waits_for_approval() -> None:
    careful = Config(scheduling=Scheduling(requires_approval="all"))
    assert await outcomes(careful, ToolCall("pass_baton")) == [Outcome("asked for")]


@virtual_time
async def test_bot_learns_that_it_has_called_enough() -> None:
    few = Config(limits=Limits(tool_calls_per_response=1))
    told = await outcomes(few, *[ToolCall("blackboard_increment", raw({"id": "n"}))] * 2)
    assert told == [Outcome("done"), Outcome("a reply may call 1 tools; go on without", True)]
