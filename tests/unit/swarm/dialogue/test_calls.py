"""What a bot calls within a reply is done once, and it learns what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from msgspec import Raw
from msgspec.structs import replace

from src.swarm.configs.bots import BotConfig, BotTool, ProviderNames
from src.swarm.providers import Outcome, ReplyPart, ReplyRequest, Text, ToolCall
from src.swarm.rules.lessons import Lesson, lesson_of
from src.swarm.shapes.config import Config, Scheduling
from src.swarm.shapes.limits import Limits
from src.swarm.shapes.work import Assignment, DecideToolCall, EditBlackboard
from tests.support.clock import advance, settle, virtual_time
from tests.support.rooms import SCOUT, Swarm, SwarmServer, Voice
from tests.unit.swarm.given import raw
from tests.unit.swarm.rules.teaching import ADDING, ROWS


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
    assert told == [
        Outcome("done"),
        Outcome("a reply has 1 tool calls at most; go on without", True),
    ]


@virtual_time
async def test_bot_is_offered_the_tools_of_its_config_as_they_are_now() -> None:
    swarm = Swarm()
    weather = BotConfig("Scout", providers=ProviderNames(llm="test/voice"))
    weather = replace(weather, tools=(BotTool("weather", "http", "https://weather.example"),))
    swarm.save("bot", "scout", weather)
    voice = Voice(Text("So be it."))
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(1)
        swarm.save("bot", "scout", replace(weather, tools=(BotTool("tides"),)))
        await a.say("hello again")
        await advance(1)
    before, after = ({tool.name for tool in request.tools} for request in voice.requests)
    assert before ^ after == {"weather", "tides"}
    assert "tides" in after


# -- lessons -------------------------------------------------------------------------------------


class Teacher:
    """Calls the tool that a turn names, with the arguments behind it, and says what came of it."""

    def __init__(self) -> None:
        self.asked: list[ReplyRequest] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def generate(self, request: ReplyRequest) -> AsyncIterator[ReplyPart]:
        self.asked.append(request)
        tool, _, arguments = request.turn.text.partition(" ")
        yield ToolCall(tool, Raw(arguments.encode() or b"{}"))
        await self.go_on.wait()
        yield Text(request.outcome().text)

    @property
    def taught(self) -> list[str]:
        """What was to be taught in each reply."""
        return [one.teaching.title for one in self.asked if one.teaching is not None]


class School:
    """A topic of three subtopics, and a bot that teaches it."""

    def __init__(self) -> None:
        self.swarm = Swarm()
        self.swarm.edit("scout", "test/teacher")
        for row in ROWS:
            self.swarm.save("subtopic", row.id, row.body)
        self.teacher = Teacher()

    @asynccontextmanager
    async def open(self, *names: str) -> AsyncIterator[Sequence[SwarmServer]]:
        async with self.swarm.open(*names, teacher=self.teacher) as servers:
            yield servers

    async def begin(self, server: SwarmServer, config: Config = Config()) -> None:
        await server.begin(SCOUT, config=config)
        lesson = Assignment("lesson", raw({"topic": "fractions"}))
        await server.submit(EditBlackboard(set=(lesson,)), key="lesson")

    async def ask(self, server: SwarmServer, text: str) -> str:
        """Say something; return what the bot says then."""
        await server.say(text, key=f"ask {len(self.swarm.said())}")
        await advance(1)
        who, said = self.swarm.said()[-1]
        assert who == "scout"
        return said


async def lesson_on(server: SwarmServer) -> Lesson:
    lesson = lesson_of((await server.service.read("c")).entry.state)
    assert lesson is not None
    return lesson


@virtual_time
async def test_bot_goes_through_a_lesson_and_hears_where_it_is() -> None:
    school = School()
    async with school.open("a") as [a]:
        await school.begin(a)
        said = [
            await school.ask(a, text)
            for text in ("next_subtopic", "next_subtopic", "next_subtopic", "previous_subtopic")
        ]
        assert said == [
            "Subtopic 2 of 3: Adding, level easy.",
            "Subtopic 3 of 3: Times, level easy.",
            "Times is the last subtopic of fractions",
            "Subtopic 2 of 3: Adding, level easy.",
        ]
        await school.ask(a, 'check_understanding {"question": "1/2 + 1/2?", "passed": true}')
        assert await school.ask(a, "summarise") == (
            "fractions, at 2 of 3, pace normal. "
            "Halves (before). Adding (now): 1 of 1 checks passed. Times (to come)."
        )
        (check,) = (await lesson_on(a)).checks
        assert (check.subtopic, check.person) == ("adding", "ada")
    assert school.teacher.taught == [*("Halves", "Adding", "Times", "Times", "Adding", "Adding")]


@virtual_time
async def test_without_a_lesson_nothing_is_taught_and_no_topic_is_read() -> None:
    school = School()
    school.swarm.configs["subtopic"].away = True
    async with school.open("a") as [a]:
        await a.begin(SCOUT)
        assert "lesson" in await school.ask(a, "next_subtopic")
    assert school.teacher.asked[0].teaching is None


@virtual_time
async def test_edits_and_deletions_of_subtopics_are_obeyed_by_the_next_reply() -> None:
    school = School()
    async with school.open("a") as [a]:
        await school.begin(a)
        await school.ask(a, "next_subtopic")
        school.swarm.save("subtopic", "adding", replace(ADDING.body, content="Count parts."))
        await school.ask(a, "previous_subtopic")
        assert await school.ask(a, "next_subtopic") == (
            "Subtopic 2 of 3: Adding, level easy. Count parts."
        )
        school.swarm.configs["subtopic"].put("adding", ADDING.body, deleted=True)
        assert await school.ask(a, 'set_pace {"pace": "slow"}') == "The pace is slow now."
        assert school.teacher.taught[-1] == "Times"
        assert "is the last subtopic" in await school.ask(a, "next_subtopic")
        for id in ("halves", "times"):
            school.swarm.configs["subtopic"].put(id, ADDING.body, deleted=True)
        assert "has no subtopics" in await school.ask(a, "summarise")


@virtual_time
async def test_next_owner_teaches_on_at_the_same_place() -> None:
    school = School()
    async with school.open("a", "b") as [a, b]:
        await school.begin(a)
        await school.ask(a, "next_subtopic")
        a.freeze()
        await advance(12)
        assert b.state.notebooks.holdings.ids() == ["c"]
        assert await school.ask(b, "next_subtopic") == "Subtopic 3 of 3: Times, level easy."
        a.thaw()


@virtual_time
async def test_lesson_goes_on_once_when_the_owner_dies_in_mid_reply() -> None:
    school = School()
    async with school.open("a", "b") as [a, b]:
        await school.begin(a)
        school.teacher.go_on.clear()
        await a.say("next_subtopic")
        await settle(200)
        assert (await lesson_on(a)).subtopic == "adding"
        a.freeze()
        await advance(12)
        school.teacher.go_on.set()
        await advance(1)
        assert (await lesson_on(b)).subtopic == "adding"
        assert b.host.replies.count == 1
        a.thaw()
    assert school.swarm.said()[-1] == ("scout", "Subtopic 2 of 3: Adding, level easy.")


@virtual_time
async def test_tool_of_a_lesson_that_needs_approval_is_done_when_it_is_approved() -> None:
    school = School()
    careful = Config(scheduling=Scheduling(requires_approval=("next_subtopic",)))
    async with school.open("a") as [a]:
        await school.begin(a, careful)
        assert await school.ask(a, "next_subtopic") == "asked for"
        assert (await lesson_on(a)).subtopic is None
        (call,) = (await a.service.read("c")).entry.state.pending_tool_calls
        await a.submit(DecideToolCall(call.id, "approve"), key="approve")
        await advance(1)
        (call,) = (await a.service.read("c")).entry.state.pending_tool_calls
        assert call.status == "succeeded"
        assert (await lesson_on(a)).subtopic == "adding"


@virtual_time
async def test_lesson_is_taught_on_as_it_was_read_last_while_its_rows_cannot_be_read() -> None:
    school = School()
    async with school.open("a") as [a]:
        await school.begin(a)
        await school.ask(a, "next_subtopic")
        school.swarm.configs["subtopic"].away = True
        assert await school.ask(a, "next_subtopic") == "Subtopic 3 of 3: Times, level easy."


@virtual_time
async def test_lesson_goes_on_while_postgres_is_away_and_is_logged_on_its_return() -> None:
    school = School()
    database, rows = school.swarm.cluster.database, school.swarm.configs.values()
    async with school.open("a") as [a]:
        await school.begin(a)
        await school.ask(a, "next_subtopic")
        for one in rows:
            one.away = True
        database.available = False
        await advance(2)
        await a.say("next_subtopic", key="pending")
        await advance(1)
        for one in rows:
            one.away = False
        database.available = True
        await advance(6)
        assert (await lesson_on(a)).subtopic == "times"
    assert school.swarm.said()[-1] == ("scout", "Subtopic 3 of 3: Times, level easy.")
