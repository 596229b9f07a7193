"""PostgreSQL away: a running room goes on within bounds, and what it said is logged on return."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from src.state.errors import DurableTierUnavailable, OutcomeUnknown, Refused, StateError
from src.state.models import Durability, Event, Version
from src.swarm.configs.settings import VALUES, SettingConfig
from src.swarm.outage import Outage
from src.swarm.pending import Bounds, PendingEvent
from src.swarm.providers import ReplyRequest, Text, ToolCall
from src.swarm.shapes import free_json
from src.swarm.shapes.commands import (
    ChangeStatus,
    Command,
    PassBaton,
    PostMessage,
    SaveTurn,
    Speaker,
)
from src.swarm.shapes.events import SpeechHeard
from tests.support.clock import BEGAN, advance, settle, virtual_time
from tests.support.cluster_settings import settings
from tests.support.loudspeaker import Loudspeaker
from tests.support.rooms import SCOUT, TUTOR, Swarm, SwarmServer, Voice

PENDING = Durability.PENDING
ADA = Speaker("person", "ada")


def echo(request: ReplyRequest) -> str:
    return f"on {request.turn.text}"


def talking(**options: object) -> tuple[Swarm, Voice]:
    """A swarm with a bot that says what it heard."""
    swarm = Swarm(**options)  # type: ignore[arg-type]  # whatever a test gives
    swarm.edit("scout", "test/voice")
    return swarm, Voice(says=echo)


async def cut(swarm: Swarm) -> None:
    """Take PostgreSQL away from everybody, and let the servers notice."""
    swarm.cluster.database.available = False
    await advance(2)


async def give_back(swarm: Swarm) -> None:
    """Give it back, and let the servers find it again."""
    swarm.cluster.database.available = True
    await advance(6)


async def until(holds: Callable[[], bool]) -> None:
    """Wait in small steps, so that a test sees the moment."""
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to that")


async def until_logged(outage: Outage) -> None:
    await until(lambda: not outage.rooms)


# -- going on ------------------------------------------------------------------------------------


@virtual_time
async def test_running_room_goes_on_and_all_of_it_is_logged_on_return_once_and_in_order() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        last = await a.say("before")
        await advance(1)
        logged = swarm.said()
        await cut(swarm)
        for number in range(20):
            receipt = await a.say(f"{number}")
            assert (receipt.durability, receipt.repeated) == (PENDING, False)
            assert receipt.version == swarm.log()[-1].version
            await advance(10)
        assert receipt.version > last.version
        assert swarm.said() == logged
        assert [request.turn.text for request in voice.requests[1:]] == [
            str(number) for number in range(20)
        ]
        assert a.outage.counts()["pending_turns"] == 40
        await give_back(swarm)
        assert a.outage.counts()["pending_turns"] == a.outage.counts()["pending_bytes"] == 0
        assert a.outage.counts()["pending_logged"] == 40
        await a.say("after")
        await advance(1)
    during = [pair for n in range(20) for pair in (("ada", f"{n}"), ("scout", f"on {n}"))]
    assert swarm.said() == [*logged, *during, ("ada", "after"), ("scout", "on after")]
    assert len(voice.requests) == 22
    turn = swarm.turns()[-3]
    assert turn.text == "on 19"
    assert turn.ended_at - swarm.turns()[3].ended_at == timedelta(seconds=190), "when it was said"


@virtual_time
async def test_bots_go_on_with_the_configs_they_had_and_those_without_one_without() -> None:
    swarm, _ = talking()
    async with swarm.open("a", voice=Voice(Text("Yes."))) as [a]:
        await a.begin(SCOUT, TUTOR)
        await a.say("@all before")
        await advance(1)
        await cut(swarm)
        swarm.bots.unreadable |= {"scout", "tutor"}
        await a.say("@all hello")
        await advance(1)
        await give_back(swarm)
    assert [who for who, _ in swarm.said()] == ["ada", "scout", "tutor"] * 2
    assert [turn.config_version for turn in swarm.turns() if turn.author.id == "scout"] == [1, 1]


@virtual_time
async def test_settings_that_nobody_has_used_before_an_outage_hold_and_are_not_asked_for() -> None:
    swarm, _ = talking()
    swarm.edit("tutor", "test/voice")
    value = free_json.write({"default_bot": "tutor"})
    swarm.save("setting", "responder", SettingConfig(value))
    async with swarm.open("a", voice=Voice(Text("Yes."))) as [a]:
        await a.begin(SCOUT, TUTOR)
        await cut(swarm)
        loads = swarm.configs["setting"].loads
        with capture_logs() as logs:
            for text in ("one", "two", "three"):
                await a.say(text)
                await advance(1)
        assert swarm.configs["setting"].loads == loads == len(VALUES)
        await give_back(swarm)
    assert [one for one in logs if one["event"] == "config.unreadable"] == []
    assert [who for who, _ in swarm.said() if who != "ada"] == ["tutor"] * 3


@virtual_time
async def test_bots_hear_what_is_pending() -> None:
    swarm, _ = talking()
    voice = Voice(says=lambda request: f"heard {len(request.state.messages)}")
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await cut(swarm)
        for text in ("one", "two"):
            await a.say(text)
            await advance(1)
        await give_back(swarm)
    assert [text for who, text in swarm.said() if who == "scout"] == ["heard 1", "heard 3"]


@virtual_time
async def test_key_that_comes_again_is_pending_again_and_then_logged() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        before = await a.say("before")
        await advance(1)
        await cut(swarm)
        shown = await a.say("before")
        assert (shown.durability, shown.repeated) == (Durability.LOGGED, True)
        assert shown.version >= before.version
        first, again = await a.say("hello"), await a.say("hello")
        assert (first.durability, first.repeated) == (PENDING, False)
        assert (again.durability, again.repeated) == (PENDING, True)
        assert again.version == first.version
        await give_back(swarm)
        logged = await a.say("hello")
        assert (logged.durability, logged.repeated) == (Durability.LOGGED, True)
        assert logged.version > first.version
    assert swarm.said().count(("ada", "hello")) == 1


@virtual_time
async def test_turn_that_came_through_another_server_is_pending_as_well() -> None:
    swarm, voice = talking()
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.begin(SCOUT)
        await b.say("before")
        await cut(swarm)
        assert (await b.say("hello")).durability is PENDING
        b.wire.lost_answers = 1
        assert (await b.say("again")).durability is PENDING, "the host is still known"
        await give_back(swarm)
    assert [text for who, text in swarm.said() if who == "ada"] == ["before", "hello", "again"]


@virtual_time
async def test_what_a_bot_does_beside_talking_is_pending_too() -> None:
    swarm, _ = talking()
    swarm.edit("tutor", "test/other")
    passing = Voice(ToolCall("pass_baton", b'{"to": "tutor"}'), Text("Go on, tutor."))  # type: ignore[arg-type]  # JSON
    other = Voice(says=echo)
    async with swarm.open("a", voice=passing, other=other) as [a]:
        await a.begin(SCOUT, TUTOR)
        await cut(swarm)
        await a.say("@scout hello")
        await advance(1)
        await a.say("next")
        await advance(1)
        assert [request.turn.text for request in other.requests] == ["Go on, tutor.", "next"]
        await give_back(swarm)
    assert [who for who, _ in swarm.said()] == ["ada", "scout", "tutor", "ada", "tutor"]


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [PassBaton("scout"), ChangeStatus("stop"), SaveTurn("one", "two")], ids=repr
)
@virtual_time
async def test_other_commands_of_clients_are_refused(command: Command) -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await cut(swarm)
        with pytest.raises(DurableTierUnavailable):
            await a.submit(command, key="k")
        assert not a.outage.rooms
        swarm.cluster.database.available = True


@virtual_time
async def test_turn_of_a_conversation_that_does_not_run_is_refused() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.submit(ChangeStatus("stop"), key="stop")
        await cut(swarm)
        with pytest.raises(DurableTierUnavailable):
            await a.say("hello")
        swarm.cluster.database.available = True


@virtual_time
async def test_turn_is_refused_where_the_conversation_is_not_hosted() -> None:
    swarm, voice = talking()
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.begin(SCOUT)
        await cut(swarm)
        with pytest.raises(DurableTierUnavailable):
            await b.say("hello")
        swarm.cluster.database.available = True


@pytest.mark.parametrize(
    "wish", [{"if_version": Version(1, 2)}, {"durability": Durability.LOGGED}], ids=repr
)
@virtual_time
async def test_turn_that_wants_more_than_pending_is_refused(wish: dict[str, object]) -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await cut(swarm)
        with pytest.raises(DurableTierUnavailable):
            await a.submit(PostMessage(ADA, "hello"), key="k", **wish)
        swarm.cluster.database.available = True


@virtual_time
async def test_nobody_is_told_that_a_turn_is_invalid_while_its_key_cannot_be_looked_up() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        command = PostMessage(ADA, "hello", id="m-1")
        await a.submit(command, key="k")
        await advance(1)
        await cut(swarm)
        with pytest.raises(DurableTierUnavailable):
            await a.submit(command, key="k")
        await give_back(swarm)
        assert (await a.submit(command, key="k")).repeated
    assert [text for who, text in swarm.said() if who == "ada"] == ["hello"]


@pytest.mark.parametrize(
    "bounds", [Bounds(4, 100, 1 << 20), Bounds(100, 4, 1 << 20), Bounds(100, 100, 8_000)]
)
@virtual_time
async def test_what_is_pending_is_bounded_and_the_next_turn_is_refused(bounds: Bounds) -> None:
    swarm, voice = talking(bounds=bounds)
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("before")
        await advance(1)
        await cut(swarm)
        taken = 0
        with suppress(DurableTierUnavailable):
            for taken in range(20):
                await a.say(f"{taken}")
                await advance(1)
        assert 0 < taken < 5
        held = a.outage.counts()
        assert 0 < held["pending_turns"] <= 5
        assert held["pending_turned_away"] >= 1
        await give_back(swarm)
        assert a.outage.counts()["pending_turns"] == 0
        assert (await a.say("after")).durability is Durability.LOGGED


# -- what readers see ----------------------------------------------------------------------------


@virtual_time
async def test_read_is_the_logged_state_labelled_and_tells_how_much_is_pending() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("before")
        await advance(1)
        await cut(swarm)
        assert a.service.pending("c") == 0
        await a.say("hello")
        await advance(1)
        read = await a.service.read("c")
        assert read.stale_s is not None
        assert read.entry.version == swarm.log()[-1].version
        assert [message.text for message in read.entry.state.messages] == ["before", "on before"]
        assert a.service.pending("c") == 2
        await give_back(swarm)
        read = await a.service.read("c")
        assert (read.stale_s, a.service.pending("c")) == (None, 0)
        assert len(read.entry.state.messages) == 4


@virtual_time
async def test_followers_see_what_is_pending_at_once_and_later_as_logged() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("before")
        await advance(1)
        seq = swarm.log()[-1].version.seq
        async with a.service.follow("c", after=seq) as early:
            await cut(swarm)
            await a.say("one")
            await advance(1)
            async with a.service.follow("c", after=seq) as late:
                await a.say("two")
                await advance(1)
                for events in (early, late):
                    async with asyncio.timeout(1):
                        shown = [await anext(events) for _ in range(4)]
                    assert all(isinstance(one, PendingEvent) for one in shown)
                    names = [one.event.event_id for one in shown if isinstance(one, PendingEvent)]
                await give_back(swarm)
                for events in (early, late):
                    async with asyncio.timeout(1):
                        logged = [await anext(events) for _ in range(4)]
                    assert [one.event_id for one in logged if isinstance(one, Event)] == names
                    seqs = [one.version.seq for one in logged if isinstance(one, Event)]
                    assert seqs == [seq + 1, seq + 2, seq + 3, seq + 4]


# -- going away ----------------------------------------------------------------------------------


@virtual_time
async def test_turns_under_way_when_the_log_went_away_come_before_those_that_followed() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("before")
        await advance(1)
        a.state.log_link.hold_answers()
        first = asyncio.create_task(a.say("in the log, unanswered"))
        await settle()
        second = asyncio.create_task(a.say("waits"))
        await settle()
        await cut(swarm)
        third = await a.say("hello")
        await advance(10)
        assert [(await one).durability for one in (first, second)] == [PENDING, PENDING]
        assert third.durability is PENDING
        heard = [request.turn.text for request in voice.requests]
        assert heard == ["before", "in the log, unanswered", "waits", "hello"]
        a.state.log_link.release()
        await give_back(swarm)
        await until_logged(a.outage)
    assert len(voice.requests) == 4
    people = [text for who, text in swarm.said() if who == "ada"]
    assert people == ["before", "in the log, unanswered", "waits", "hello"]
    assert len(swarm.said()) == 8


@virtual_time
async def test_command_under_rules_that_was_under_way_is_decided_anew_on_return() -> None:
    swarm, _ = talking()
    policy = SettingConfig(free_json.write({"acl": ["ada"]}))
    swarm.save("setting", "policy", policy)
    async with swarm.open("a", voice=Voice(Text("Yes."))) as [a]:
        await a.begin(SCOUT)
        a.state.log_link.hold_answers()
        stranger = PostMessage(Speaker("person", "zoe"), "a stranger, unanswered")
        first = asyncio.create_task(a.submit(stranger, key="stranger"))
        await settle()
        await cut(swarm)
        await a.say("hello")
        await advance(10)
        assert (await first).durability is PENDING
        a.state.log_link.release()
        await give_back(swarm)
        await until_logged(a.outage)
    assert [who for who, _ in swarm.said() if who != "scout"] == ["zoe", "ada"]


@virtual_time
async def test_reply_that_meets_an_outage_is_not_lost() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        voice.hold()
        await a.say("hello")
        await settle()
        await cut(swarm)
        voice.release()
        await advance(1)
        assert a.outage.counts()["pending_turns"] == 1
        await give_back(swarm)
    assert swarm.said() == [("ada", "hello"), ("scout", "on hello")]


@virtual_time
async def test_reply_whose_outcome_is_unknown_is_pending_and_there_once() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        voice.hold()
        await a.say("hello")
        await settle()
        a.state.log_link.hold_answers()
        voice.release()
        await settle()
        await cut(swarm)
        await advance(10)
        assert a.outage.counts()["pending_turns"] == 1
        a.state.log_link.release()
        await give_back(swarm)
        await until_logged(a.outage)
    assert swarm.said() == [("ada", "hello"), ("scout", "on hello")]


@virtual_time
async def test_turn_that_may_be_in_the_log_is_never_said_to_have_changed_nothing() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await a.say("before")
        await advance(1)
        a.state.log_link.hold_answers()
        same = PostMessage(ADA, "hello", id="m-1")
        posts = [asyncio.create_task(a.submit(same, key=key)) for key in ("one", "two")]
        await settle()
        await cut(swarm)
        await advance(10)
        assert (await posts[0]).durability is PENDING
        with pytest.raises(OutcomeUnknown):
            await posts[1]
        a.state.log_link.release()
        await give_back(swarm)
        with pytest.raises(Refused):
            await a.submit(same, key="two")


# -- returning -----------------------------------------------------------------------------------


@virtual_time
async def test_nothing_overtakes_what_is_pending() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await cut(swarm)
        for number in range(5):
            await a.say(f"{number}")
        await advance(1)
        swarm.cluster.database.available = True

        async def end() -> None:
            while True:
                try:
                    await a.submit(ChangeStatus("complete"), key="end")
                    return
                except StateError:
                    await asyncio.sleep(0.01)

        await end()
        await advance(1)
    facts = [event.type for event in swarm.log()]
    assert facts[-1] == "status_changed"
    assert len(swarm.said()) == 10


@virtual_time
async def test_outage_that_comes_back_in_the_middle_of_the_return_changes_nothing() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await cut(swarm)
        for number in range(20):
            await a.say(f"{number}")
            await settle()
        a.state.log_link.delay_s = 0.05
        swarm.cluster.database.available = True
        await until(lambda: a.outage.logged >= 7)
        await cut(swarm)
        assert 0 < a.outage.counts()["pending_turns"] < 40
        await a.say("20")
        await advance(1)
        await give_back(swarm)
        await until_logged(a.outage)
    people = [text for who, text in swarm.said() if who == "ada"]
    assert people == [str(number) for number in range(21)]
    assert len(swarm.said()) == len(set(swarm.said())) == 42


async def lose_to(a: SwarmServer, b: SwarmServer) -> None:
    """Cut off the host alone, until another server has taken its conversation over."""
    for link in a.state.links:
        link.up = False
    await advance(3)
    assert a.outage.is_on
    assert (await a.say("pending")).durability is PENDING
    await advance(1)
    await advance(10)
    await b.say("through the new owner")
    assert b.state.notebooks.holdings.ids() == ["c"]


async def reconnect(a: SwarmServer) -> None:
    for link in a.state.links:
        link.up = True
    await advance(10)
    await until_logged(a.outage)


@virtual_time
async def test_pending_turns_go_to_whoever_owns_the_conversation_by_then_and_none_twice() -> None:
    swarm, voice = talking()
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.begin(SCOUT)
        await lose_to(a, b)
        await advance(1)
        await reconnect(a)
        assert a.outage.counts()["pending_logged"] == 3, "turn, version of the bot, reply"
        assert b.state.notebooks.holdings.ids() == ["c"]
        await advance(5)
    assert sorted(swarm.said()) == [
        ("ada", "pending"),
        ("ada", "through the new owner"),
        ("scout", "on pending"),
        ("scout", "on through the new owner"),
    ]


@virtual_time
async def test_turn_that_is_refused_on_return_is_told_and_counted() -> None:
    swarm, voice = talking()
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.begin(SCOUT)
        await lose_to(a, b)
        await b.submit(ChangeStatus("complete"), key="end")
        with capture_logs() as told:
            await reconnect(a)
        refused = [one for one in told if one["event"] == "pending.refused"]
        assert [one["conversation_id"] for one in refused] == ["c", "c", "c"]
        assert refused[0]["key"] == "pending"
        assert a.outage.counts()["pending_refused"] == 3
        assert a.outage.counts()["pending_turns"] == 0
    assert ("ada", "pending") not in swarm.said()


@virtual_time
async def test_server_that_ends_in_an_outage_tells_what_is_lost() -> None:
    swarm, voice = talking()
    with capture_logs() as told:
        async with swarm.open("a", voice=voice) as [a]:
            await a.begin(SCOUT)
            await cut(swarm)
            await a.say("hello")
            await advance(1)
    lost = [one for one in told if one["event"] == "pending.lost"]
    assert [one["log_level"] for one in lost] == ["error", "error", "error"]
    assert lost[0]["key"] == "hello"


@virtual_time
async def test_server_that_ends_on_return_logs_what_is_pending_first() -> None:
    swarm, voice = talking()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await cut(swarm)
        await a.say("hello")
        await advance(1)
        swarm.cluster.database.available = True
        await until(lambda: not a.outage.is_on)
    assert swarm.said() == [("ada", "hello"), ("scout", "on hello")]


@virtual_time
async def test_conversation_is_held_through_an_outage_longer_than_the_idle_release() -> None:
    swarm, voice = talking()
    idle_s = settings().idle_release.total_seconds()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        await cut(swarm)
        await advance(3 * idle_s)
        assert (await a.say("hello")).durability is PENDING
        await give_back(swarm)
    assert swarm.turns()[0].ended_at > BEGAN + timedelta(seconds=3 * idle_s)


# -- speeches ------------------------------------------------------------------------------------


@virtual_time
async def test_speech_that_an_outage_overtakes_is_one_pending_turn_and_then_one_logged() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(Text("One. " * 20))) as [a]:
        await a.begin(SCOUT)
        async with a.host.staged("c", Loudspeaker()):
            await a.say("hello")
            await advance(1)
            noted = [fact for fact in swarm.facts() if isinstance(fact, SpeechHeard)]
            assert len(noted) == 3
            await cut(swarm)
            await advance(10)
            assert a.outage.counts()["pending_turns"] == 2, "the turn, and a note under way"
            state = await a.outage.read("c")
            assert state is not None
            assert state.speech is None
            await give_back(swarm)
            await until_logged(a.outage)
            await advance(5)
    assert len([fact for fact in swarm.facts() if isinstance(fact, SpeechHeard)]) == 4
    assert [(turn.author.id, turn.cut_off) for turn in swarm.turns()] == [
        ("ada", False),
        ("scout", False),
    ]


@virtual_time
async def test_host_that_comes_back_ends_no_speech_that_was_ended_in_its_stead() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", "b", voice=Voice(Text("One. " * 20))) as [a, b]:
        await a.begin(SCOUT)
        async with a.host.staged("c", Loudspeaker()):
            await a.say("hello")
            await advance(1)
            a.freeze()
            await advance(8)
            # It speaks on, and what it says when it is heard again is the turn that is there.
            await b.service.handover.fetch("c")
            await b.say("never mind")
            await advance(20)
            a.thaw()
            await advance(20)
    assert [(turn.author.id, turn.cut_off) for turn in swarm.turns()] == [
        ("ada", False),
        ("scout", True),
        ("ada", False),
        ("scout", False),
    ]
