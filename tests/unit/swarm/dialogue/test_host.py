"""The text room: bots answer on the owner, once, one at a time, whatever becomes of providers."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from msgspec import Raw

from src.state.buffers import Buffer
from src.swarm.configs.settings import SettingConfig, decode_setting
from src.swarm.configs.teams import TeamConfig, decode_team
from src.swarm.errors import UnknownProvider
from src.swarm.providers import ReplyPart, ReplyRequest, Text, ToolCall
from src.swarm.shapes import free_json
from src.swarm.shapes.commands import (
    ChangeStatus,
    Create,
    PassBaton,
    PatchConfig,
    SavedMessage,
    SaveSession,
    SaveTurn,
    SetTeam,
)
from src.swarm.shapes.config import Config, Scheduling
from src.swarm.shapes.events import BatonPassed, ConfigVersionReported, MessageAdded
from src.swarm.shapes.limits import Limits
from src.swarm.shapes.models import TeamRef
from src.swarm.shapes.work import RequestToolCall
from tests.support.clock import advance, settle, virtual_time
from tests.support.rooms import ADA, SCOUT, TUTOR, Swarm, Voice


class PluginError(Exception):
    """What a provider's own library raises: nothing that this project knows."""


def echo(request: ReplyRequest) -> str:
    return f"{request.bot_id} on {request.turn.text}"


# -- who answers, and where ----------------------------------------------------------------------


@virtual_time
async def test_bot_answers_on_the_owner_and_nowhere_else() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.begin(SCOUT)
        await b.say("hello")
        await advance(1)
        assert (a.host.replies.count, b.host.replies.count) == (1, 0)
    assert swarm.said() == [("ada", "hello"), ("scout", "scout on hello")]
    question, answer = swarm.turns()
    assert (answer.reply_to, answer.author.kind, answer.config_version) == (question.id, "bot", 1)


@virtual_time
async def test_bot_without_a_config_says_what_the_script_says() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(1)
    assert [who for who, _ in swarm.said()] == ["ada", "scout"]


@virtual_time
async def test_bots_answer_one_after_the_other_and_hear_each_other() -> None:
    swarm = Swarm()
    for bot in ("scout", "tutor"):
        swarm.edit(bot, "test/voice")
    voice = Voice(Text("Hello yourself."))
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT, TUTOR)
        await a.say("@all hello")
        await advance(1)
    assert voice.most == 1
    heard = [[turn.author.id for turn in request.state.messages] for request in voice.requests]
    assert heard == [["ada"], ["ada", "scout"]]
    assert [who for who, _ in swarm.said()] == ["ada", "scout", "tutor"]


@virtual_time
async def test_turns_are_answered_in_order() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        for text in ("one", "two", "three"):
            await a.say(text)
        await settle()
        voice.release()
        await advance(1)
    answers = [text for who, text in swarm.said() if who == "scout"]
    assert answers == ["scout on one", "scout on two", "scout on three"]
    assert voice.most == 1


@virtual_time
async def test_more_turns_than_a_room_keeps_lose_the_oldest_answers_alone() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("first")
        await settle()
        for number in range(103):
            await a.say(f"turn {number}")
        assert a.host.buffers()["room_turns"] == Buffer(100, 100, 3)
        voice.release()
        await advance(1)
        answers = [text for who, text in swarm.said() if who == "scout"]
        # The first reply was a turn of the room as well, and took the place of one more.
        assert answers[:2] == ["scout on first", "scout on turn 4"]
        assert a.host.buffers()["room_turns"] == Buffer(0, 0, 4)


@virtual_time
async def test_exchange_that_was_saved_whole_is_not_answered_again() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        # With two bots nobody says which of them it was.
        await a.begin(SCOUT, TUTOR)
        await a.submit(SaveTurn("hello", "hello yourself"), key="saved")
        await advance(1)
    assert swarm.said() == [("ada", "hello"), ("assistant", "hello yourself")]


# -- starting and pausing ------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["stop", "pause", "suspend", "complete"])
@virtual_time
async def test_conversation_that_does_not_run_is_silent(action: str) -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("one")
        await a.say("two")
        await settle()
        await a.submit(ChangeStatus(action), key=action)  # type: ignore[arg-type]  # one of them
        if action != "complete":
            await a.say("three")
        voice.release()
        await advance(1)
        assert len(a.host) == 0
    # The reply that was under way ends by itself; what waited is not answered.
    assert [request.turn.text for request in voice.requests] == ["one"]


@virtual_time
async def test_conversation_that_was_paused_and_started_again_has_one_voice() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("one")
        await a.say("waits and is dropped")
        await settle()
        for action in ("pause", "resume", "start"):
            await a.submit(ChangeStatus(action), key=f"again {action}")
        await a.say("two")
        await settle()
        assert voice.now == 1
        voice.release()
        await advance(1)
        await a.say("three")
        await advance(1)
        assert len(a.host) == 0
    assert voice.most == 1
    assert [text for who, text in swarm.said() if who == "scout"] == [
        "scout on one",
        "scout on two",
        "scout on three",
    ]


# -- the next owner ------------------------------------------------------------------------------


@virtual_time
async def test_next_owner_goes_on_with_the_open_turn() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.begin(SCOUT)
        await a.say("hello")
        await settle()
        a.freeze()
        await advance(12)
        assert b.state.notebooks.holdings.ids() == ["c"]
        voice.release()
        await advance(1)
        assert b.host.replies.count == 1
        a.thaw()
        await advance(8)
    # The former owner was in the middle of the same reply, and its key is the same.
    assert swarm.said() == [("ada", "hello"), ("scout", "scout on hello")]


@virtual_time
async def test_survivor_goes_on_with_a_turn_that_was_flushed_though_nobody_uses_the_room() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(6)
        assert a.state.notebooks.buffers()["unwritten_bytes"].size == 0, "all is flushed"
        a.freeze()
        await advance(12)
        voice.release()
        await advance(1)
        assert b.host.replies.count == 1
    assert swarm.said()[-1] == ("scout", "scout on hello")


@virtual_time
async def test_server_that_starts_after_all_others_died_goes_on_with_their_rooms() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(6)
        a.freeze()
        await advance(60)
        async with swarm.open("b", voice=Voice(says=echo)) as servers:
            await advance(12)
            assert servers[-1].host.replies.count == 1
    assert swarm.said()[-1] == ("scout", "scout on hello")


@virtual_time
async def test_server_that_stops_alone_leaves_its_open_turns_to_the_next_one() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(1)
        await a.state.notebooks.drain()
        await a.state.membership.leave()
    async with swarm.open("b", voice=Voice(says=echo)) as servers:
        await advance(12)
        assert servers[-1].host.replies.count == 1
    assert swarm.said()[-1] == ("scout", "scout on hello")


@virtual_time
async def test_next_owner_does_not_answer_what_was_answered() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.begin(SCOUT)
        await a.say("hello")
        await settle(200)
        a.freeze()
        await advance(12)
        assert b.state.notebooks.holdings.ids() == ["c"]
        assert len(voice.requests) == 1
        await b.say("and you?")
        await advance(1)
        a.thaw()
    assert [text for who, text in swarm.said() if who == "scout"] == [
        "scout on hello",
        "scout on and you?",
    ]


@virtual_time
async def test_next_owner_takes_up_every_open_turn() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.begin(SCOUT)
        await a.say("zero")
        await advance(1)
        voice.hold()
        for text in ("one", "two", "three"):
            await a.say(text)
        await settle()
        a.freeze()
        await advance(12)
        assert b.state.notebooks.holdings.ids() == ["c"]
        voice.release()
        await advance(1)
        assert b.host.replies.count == 3
        a.thaw()
        await advance(8)
    answers = [text for who, text in swarm.said() if who == "scout"]
    assert answers == [f"scout on {text}" for text in ("zero", "one", "two", "three")]


@virtual_time
async def test_next_owner_leaves_alone_what_was_said_before_the_conversation_began() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.submit(Create("c", participants=(ADA, SCOUT)), key="create", create=True)
        for number in range(3):
            await a.say(f"imported {number}")
        await a.submit(ChangeStatus("start"), key="start")
        await a.say("hello")
        await settle()
        a.freeze()
        await advance(12)
        assert b.state.notebooks.holdings.ids() == ["c"]
        voice.release()
        await advance(1)
        a.thaw()
        await advance(8)
    assert [text for who, text in swarm.said() if who == "scout"] == ["scout on hello"]


@virtual_time
async def test_reply_that_was_logged_without_an_answer_is_there_once() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await settle()
        a.state.log_link.lost_answers = 3
        voice.release()
        await advance(10)
    assert swarm.said() == [("ada", "hello"), ("scout", "scout on hello")]


@virtual_time
async def test_server_that_ends_gives_up_its_replies() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await settle()
        assert (len(a.host), voice.now) == (1, 1)
        ended = asyncio.get_running_loop().time()
    assert (len(a.host), voice.now) == (0, 0)
    assert asyncio.get_running_loop().time() - ended < 1


# -- configs -------------------------------------------------------------------------------------


@virtual_time
async def test_edit_is_obeyed_by_the_next_reply_which_says_so() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/calm")
    async with swarm.open("a", calm=Voice(Text("I see.")), loud=Voice(Text("WHAT?"))) as [a]:
        await a.begin(SCOUT)
        await a.say("one")
        await advance(1)
        swarm.edit("scout", "test/loud")
        await a.say("two")
        await advance(1)
        await a.say("three")
        await advance(1)
    answers = [turn for turn in swarm.turns() if turn.author.id == "scout"]
    said = [(turn.text, turn.config_version) for turn in answers]
    assert said == [("I see.", 1), ("WHAT?", 2), ("WHAT?", 2)]
    reports = [fact.version for fact in swarm.facts() if isinstance(fact, ConfigVersionReported)]
    assert reports == [1, 2]


# -- providers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        OSError("no route"),
        TimeoutError(),
        UnknownProvider("test/first", (), "add it"),
        PluginError("quota"),
    ],
    ids=lambda error: type(error).__name__,
)
@virtual_time
async def test_provider_that_fails_before_its_first_word_is_passed_over(error: Exception) -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/first", "test/missing", "test/second")
    first, second = Voice(Text("never said")), Voice(Text("the second speaks"))
    first.before = error
    async with swarm.open("a", first=first, second=second) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(1)
    assert (len(first.requests), len(second.requests)) == (1, 1)
    assert swarm.said() == [("ada", "hello"), ("scout", "the second speaks")]


@pytest.mark.parametrize("error", [OSError("reset"), PluginError("quota")])
@virtual_time
async def test_provider_that_fails_in_its_reply_is_not_continued_by_another(
    error: Exception,
) -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/first", "test/second")
    first, second = Voice(Text("half a ")), Voice(Text("sentence"))
    first.after = error
    async with swarm.open("a", first=first, second=second) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(1)
        first.after = None
        await a.say("again")
        await advance(1)
    assert swarm.said() == [("ada", "hello"), ("ada", "again"), ("scout", "half a ")]
    assert second.requests == []


@virtual_time
async def test_provider_that_hangs_is_given_up_and_the_next_turn_is_answered() -> None:
    swarm = Swarm(reply_timeout_s=5)
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("one")
        await a.say("two")
        await advance(4.9)
        assert [request.turn.text for request in voice.requests] == ["one"]
        await advance(0.2)
        voice.release()
        await advance(1)
    assert swarm.said() == [("ada", "one"), ("ada", "two"), ("scout", "scout on two")]


@pytest.mark.parametrize(
    ("first_part_s", "share_s"), [(2, 2), (100, 20)], ids=["the setting", "its even share"]
)
@virtual_time
async def test_provider_that_hangs_is_passed_over_in_time_for_the_next(
    first_part_s: float, share_s: float
) -> None:
    swarm = Swarm(reply_timeout_s=60, first_part_s=first_part_s)
    swarm.edit("scout", "test/first", "test/second", "test/third")
    first, second, third = Voice(Text("late")), Voice(Text("late")), Voice(Text("the third"))
    first.hold()
    second.hold()
    async with swarm.open("a", first=first, second=second, third=third) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(2 * share_s - 0.1)
        assert (second.now, third.requests) == (1, [])
        await advance(0.2)
        assert (first.now, second.now) == (0, 0), "who is passed over works no more"
    assert swarm.said() == [("ada", "hello"), ("scout", "the third")]


@virtual_time
async def test_provider_that_has_begun_may_take_its_time() -> None:
    swarm = Swarm(reply_timeout_s=60, first_part_s=1)
    swarm.edit("scout", "test/slow", "test/other")

    class Slow:
        async def generate(self, request: ReplyRequest) -> AsyncIterator[ReplyPart]:
            for word in ("I ", "think ", "slowly"):
                yield Text(word)
                await asyncio.sleep(5)

    async with swarm.open("a", slow=Slow(), other=Voice(Text("never"))) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(20)
    assert swarm.said() == [("ada", "hello"), ("scout", "I think slowly")]


@virtual_time
async def test_bot_whose_config_cannot_be_read_says_nothing_and_the_others_speak() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(says=echo)) as [a]:
        await a.begin(SCOUT, TUTOR)
        swarm.bots.unreadable.add("tutor")
        await a.say("@all hello")
        await advance(1)
    assert [who for who, _ in swarm.said()] == ["ada", "scout"]


@virtual_time
async def test_bot_whose_provider_fails_silences_no_other_bot() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/broken")
    swarm.edit("tutor", "test/voice")
    broken = Voice()
    broken.before = PluginError("quota")
    async with swarm.open("a", broken=broken, voice=Voice(says=echo)) as [a]:
        await a.begin(SCOUT, TUTOR)
        await a.say("@all hello")
        await advance(1)
    assert [who for who, _ in swarm.said()] == ["ada", "tutor"]


@virtual_time
async def test_provider_with_nothing_to_say_adds_no_turn() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice()) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(1)
        assert a.host.replies.count == 0
    assert swarm.said() == [("ada", "hello")]


@virtual_time
async def test_pieces_make_one_turn() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(Text("Good "), Text("morning"), Text("."))) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(1)
    assert swarm.said()[1:] == [("scout", "Good morning.")]


@virtual_time
async def test_turns_of_a_saved_session_are_not_answered_now_nor_by_the_next_owner() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", "b", voice=Voice(says=echo)) as [a, b]:
        await a.begin(SCOUT)
        session = SaveSession("session", (SavedMessage("hello"), SavedMessage("anybody?")))
        await a.submit(session, key="session")
        await advance(5)
        await a.service.handover.leave()
        await advance(5)
        assert b.state.notebooks.holdings.ids() == ["c"]
        await b.say("and now?")
        await advance(5)
    assert swarm.said()[2:] == [("ada", "and now?"), ("scout", "scout on and now?")]


# -- tools ---------------------------------------------------------------------------------------


@virtual_time
async def test_call_of_a_tool_becomes_a_command_and_a_refused_one_ends_nothing() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(
        ToolCall("pass_baton", Raw(b'{"to": "nobody there"}')),
        ToolCall("pass_baton", Raw(b'{"to": "tutor"}')),
        Text("Tutor, go on."),
    )
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT, TUTOR)
        await a.say("@scout hello")
        await advance(1)
    passed = [fact.to for fact in swarm.facts() if isinstance(fact, BatonPassed)]
    assert passed == ["tutor"]
    assert ("scout", "Tutor, go on.") in swarm.said()


@virtual_time
async def test_commands_go_on_while_a_bot_thinks() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await settle()
        await a.submit(PassBaton("scout"), key="baton")
        assert voice.now == 1
        voice.release()
        await advance(1)
    assert ("scout", "scout on hello") in swarm.said()


@virtual_time
async def test_call_of_another_tool_and_of_one_that_needs_approval_waits_in_the_state() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(
        ToolCall("weather", Raw(b'{"at": "sea"}')),
        ToolCall("pass_baton", Raw(b'{"to": "tutor"}')),
        Text("I asked."),
    )
    careful = Config(scheduling=Scheduling(requires_approval=("pass_baton",)))
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT, TUTOR, config=careful)
        await a.say("@scout hello")
        await advance(1)
        state = (await a.service.read("c")).entry.state
    assert [(call.tool, call.caller, call.status) for call in state.pending_tool_calls] == [
        ("weather", "scout", "scheduled"),
        ("pass_baton", "scout", "pending_approval"),
    ]
    assert state.baton is None


# -- limits --------------------------------------------------------------------------------------


@virtual_time
async def test_calls_beyond_the_limit_of_a_response_are_left_out() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    add = ToolCall("blackboard_increment", Raw(b'{"id": "calls"}'))
    voice = Voice(add, add, add, Text("Enough."))
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT, config=Config(limits=Limits(tool_calls_per_response=2)))
        await a.say("hello")
        await advance(1)
        state = (await a.service.read("c")).entry.state
    assert [item.value for item in state.blackboard] == [Raw(b"2")]
    assert ("scout", "Enough.") in swarm.said()


@virtual_time
async def test_reply_that_takes_longer_than_a_response_may_is_given_up() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT, config=Config(limits=Limits(response_s=5)))
        await a.say("hello")
        await advance(4)
        assert voice.now == 1
        await advance(2)
        assert voice.now == 0
    assert swarm.said() == [("ada", "hello")]


@virtual_time
async def test_time_that_a_bot_took_is_in_its_turn_and_counts() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT, config=Config(limits=Limits(duration_s=3)))
        for text in ("one", "two"):
            voice.hold()
            await a.say(text)
            await advance(3)
            voice.release()
            await advance(1)
        state = (await a.service.read("c")).entry.state
    answer = state.messages[1]
    assert (answer.ended_at - answer.started_at).total_seconds() == pytest.approx(3, abs=0.5)
    assert [who for who, _ in swarm.said()] == ["ada", "scout", "ada"]


@virtual_time
async def test_bots_rest_between_turns_for_as_long_as_the_config_says() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(says=echo)) as [a]:
        await a.begin(SCOUT, config=Config(limits=Limits(cycle_delay_s=10)))
        await a.say("one")
        await a.say("two")
        await advance(9)
        assert a.host.replies.count == 1
        await advance(2)
        assert a.host.replies.count == 2


# -- what is inherited ---------------------------------------------------------------------------


def setting(key: str, value: object) -> SettingConfig:
    return decode_setting(key, msgspec.json.encode({"value": value}))


def crew(**defaults: object) -> TeamConfig:
    return decode_team(msgspec.json.encode({"name": "Crew", "defaults": defaults}))


@virtual_time
async def test_next_reply_obeys_an_edited_team_and_an_edited_setting() -> None:
    swarm = Swarm()
    for bot in ("scout", "tutor"):
        swarm.edit(bot, "test/voice")
    async with swarm.open("a", voice=Voice(says=echo)) as [a]:
        await a.begin(SCOUT, TUTOR, config=Config(team_id="crew"))
        await a.say("one")
        await advance(1)
        swarm.save("setting", "responder", setting("responder", {"default_bot": "tutor"}))
        await a.say("two")
        await advance(1)
        swarm.save("team", "crew", crew(responder={"default_bot": "scout"}))
        await a.say("three")
        await advance(1)
        own = {"responder": {"default_bot": "tutor"}}
        await a.submit(PatchConfig(free_json.write(own)), key="own")
        await a.say("four")
        await advance(1)
    answers = [who for who, _ in swarm.said() if who != "ada"]
    assert answers == ["scout", "tutor", "scout", "tutor"]


@virtual_time
async def test_model_that_a_setting_names_is_used_by_bots_without_one() -> None:
    swarm = Swarm()
    async with swarm.open("a", voice=Voice(Text("From the setting."))) as [a]:
        await a.begin(SCOUT)
        swarm.save("setting", "providers", setting("providers", {"llm": "test/voice"}))
        await a.say("hello")
        await advance(1)
    assert swarm.said()[-1] == ("scout", "From the setting.")


@virtual_time
async def test_command_on_any_server_obeys_what_its_conversation_inherits() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT, config=Config(team_id="crew"))
        await b.submit(RequestToolCall("pay", "scout"), key="before")
        swarm.save("team", "crew", crew(scheduling={"requires_approval": ["pay"]}))
        await b.submit(RequestToolCall("pay", "scout"), key="after")
        state = (await a.service.read("c")).entry.state
    statuses = [call.status for call in state.pending_tool_calls]
    assert statuses == ["scheduled", "pending_approval"]
    assert state.config == Config(team_id="crew"), "what is inherited is no part of the state"


@virtual_time
@pytest.mark.parametrize("why", ["unreadable", "newer"])
async def test_setting_that_cannot_be_read_counts_as_it_was_last_seen(why: str) -> None:
    """Because nobody answers, or because a newer release has written it."""
    swarm = Swarm()
    for bot in ("scout", "tutor"):
        swarm.edit(bot, "test/voice")
    swarm.save("setting", "responder", setting("responder", {"default_bot": "tutor"}))
    async with swarm.open("a", voice=Voice(says=echo)) as [a]:
        await a.begin(SCOUT, TUTOR)
        await a.say("one")
        await advance(1)
        getattr(swarm.configs["setting"], why).update(("responder", "limits"))
        swarm.save("setting", "responder", setting("responder", {}))
        await a.say("two")
        await advance(1)
    assert [who for who, _ in swarm.said() if who != "ada"] == ["tutor", "tutor"]


# -- hot reload ----------------------------------------------------------------------------------


def applied(swarm: Swarm) -> list[tuple[str, int]]:
    """What was said and which versions were reported, in order."""
    told: list[tuple[str, int]] = []
    for fact in swarm.facts():
        if isinstance(fact, ConfigVersionReported):
            told.append((fact.bot, fact.version))
        elif isinstance(fact, MessageAdded):
            told.append((fact.message.author.id, fact.message.config_version or 0))
    return told


@virtual_time
async def test_edit_is_applied_and_reported_though_nobody_speaks() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", "b", voice=Voice(says=echo)) as [a, b]:
        await a.begin(SCOUT, TUTOR)
        swarm.edit("scout", "test/voice", name="Scout II")
        swarm.edit("critic", "test/voice")
        await advance(1)
        assert applied(swarm) == [("scout", 2)]
        assert (len(a.host), len(b.host)) == (0, 0)
        seen = (await b.service.read("c")).entry.state.participant("scout")
        assert seen is not None
        assert seen.config_version == 2


@virtual_time
async def test_edit_in_the_middle_of_a_reply_is_applied_when_it_has_ended() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=echo)
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await settle()
        swarm.edit("scout", "test/voice", name="Scout II")
        swarm.edit("scout", "test/voice", name="Scout III")
        await advance(1)
        voice.release()
        await advance(1)
    # The reply says by which version it was made; both edits are one report.
    assert applied(swarm) == [("ada", 0), ("scout", 1), ("scout", 1), ("scout", 3)]


@virtual_time
async def test_edit_while_the_bots_rest_is_applied_at_once() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(says=echo)) as [a]:
        await a.begin(SCOUT, config=Config(limits=Limits(cycle_delay_s=10)))
        await a.say("one")
        await a.say("two")
        await advance(2)
        swarm.edit("scout", "test/voice", name="Scout II")
        await advance(1)
        assert applied(swarm)[-1] == ("scout", 2)
        assert a.host.replies.count == 1
        await advance(6)
        assert a.host.replies.count == 1
        await advance(2)
        assert a.host.replies.count == 2


@virtual_time
async def test_version_of_the_team_in_the_state_follows_the_team() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", crew())
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT)
        await a.submit(SetTeam(TeamRef("crew", "Crew", 1)), key="team")
        swarm.save("team", "crew", crew(limits={"credits": 1}))
        await advance(1)
        state = (await a.service.read("c")).entry.state
    assert state.team == TeamRef("crew", "Crew", 2)


@virtual_time
async def test_conversation_that_is_not_run_here_applies_nothing() -> None:
    swarm = Swarm(idle_release=5)
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", "b", voice=Voice(says=echo)) as [a, b]:
        await a.begin(SCOUT)
        await a.submit(ChangeStatus("pause"), key="pause")
        swarm.edit("scout", "test/voice", name="Scout II")
        await advance(1)
        await a.submit(ChangeStatus("resume"), key="resume")
        await a.submit(ChangeStatus("start"), key="start again")
        await advance(20)
        assert a.state.notebooks.holdings.ids() == []
        swarm.edit("scout", "test/voice", name="Scout III")
        await advance(1)
        assert applied(swarm) == []
        # Whoever takes it next reports what its replies obey.
        await b.say("hello")
        await advance(1)
    assert applied(swarm) == [("ada", 0), ("scout", 3), ("scout", 3)]


@virtual_time
async def test_next_owner_hears_of_edits_too() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", "b", voice=Voice(says=echo)) as [a, b]:
        await a.begin(SCOUT)
        await a.say("hello")
        await settle(200)
        a.freeze()
        await advance(12)
        assert b.state.notebooks.holdings.ids() == ["c"]
        swarm.edit("scout", "test/voice", name="Scout II")
        await advance(1)
        assert applied(swarm)[-1] == ("scout", 2)
        a.thaw()
        await advance(8)
    assert applied(swarm).count(("scout", 2)) == 1
