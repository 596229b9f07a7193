"""A conversation on a stage: bots are heard, people come first, and what was heard is kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from src.state.errors import Refused
from src.swarm.configs.settings import decode_setting
from src.swarm.providers import Text
from src.swarm.shapes.events import MessageAdded
from src.swarm.shapes.models import Message
from tests.support.clock import advance, virtual_time
from tests.support.loudspeaker import Loudspeaker
from tests.support.rooms import SCOUT, TUTOR, Swarm, SwarmServer, Voice


def messages(swarm: Swarm) -> list[Message]:
    return [fact.message for fact in swarm.facts() if isinstance(fact, MessageAdded)]


@virtual_time
async def test_reply_is_heard_before_it_is_a_turn() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(Text("0123456789"))) as [a]:
        await a.begin(SCOUT)
        stage = Loudspeaker()
        async with a.host.staged("c", stage):
            await a.say("hello")
            await advance(0.5)
            assert stage.speaking == {"scout"}
            assert [who for who, _ in swarm.said()] == ["ada"]
            await advance(1)
            assert stage.speaking == set()
    _, answer = messages(swarm)
    assert (answer.text, answer.interrupted) == ("0123456789", False)
    assert (answer.ended_at - answer.started_at).total_seconds() == pytest.approx(1.0)


@virtual_time
async def test_person_who_speaks_silences_the_bot_and_what_was_heard_is_kept() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(Text("0123456789"))) as [a]:
        await a.begin(SCOUT)
        stage = Loudspeaker()
        async with a.host.staged("c", stage) as room:
            await a.say("hello")
            await advance(0.45)
            room.person_starts("ada")
            await advance(0)
            assert stage.speaking == set()
            room.person_stops("ada")
            await advance(5)
    _, answer = messages(swarm)
    assert (answer.text, answer.interrupted, answer.spoken_until) == ("0123456789", True, 4)


@virtual_time
async def test_bot_that_only_thought_answers_when_the_person_has_spoken() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(Text("yes"))
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        async with a.host.staged("c", Loudspeaker()) as room:
            await a.say("hello")
            await advance(0.1)
            room.person_starts("ada")
            voice.release()
            await advance(3)
            assert [who for who, _ in swarm.said()] == ["ada"]
            room.person_stops("ada")
            await advance(3)
    assert swarm.said() == [("ada", "hello"), ("scout", "yes")]


@virtual_time
async def test_person_who_goes_on_speaking_is_answered_once_to_the_last_words() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(says=lambda request: f"on {request.turn.text}")
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        async with a.host.staged("c", Loudspeaker()) as room:
            room.person_starts("ada")
            await a.say("what is")
            await a.say("the time")
            await advance(1)
            room.person_stops("ada")
            await advance(3)
    assert swarm.said() == [("ada", "what is"), ("ada", "the time"), ("scout", "on the time")]


@virtual_time
async def test_one_voice_at_a_time_on_a_stage() -> None:
    swarm = Swarm()
    for bot in ("scout", "tutor"):
        swarm.edit(bot, "test/voice")
    async with swarm.open("a", voice=Voice(Text("aye"))) as [a]:
        await a.begin(SCOUT, TUTOR)
        stage = Loudspeaker()
        async with a.host.staged("c", stage):
            await a.say("@all hello")
            await advance(5)
    assert [who for who, _ in swarm.said()] == ["ada", "scout", "tutor"]
    assert stage.most == 1


@virtual_time
async def test_bot_without_a_voice_says_nothing_and_the_room_goes_on() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(Text("aye"))) as [a]:
        await a.begin(SCOUT)
        stage = Loudspeaker()
        stage.broken = RuntimeError("no such voice")
        async with a.host.staged("c", stage):
            await a.say("hello")
            await advance(1)
            assert [who for who, _ in swarm.said()] == ["ada"]
            stage.broken = None
            await a.say("again")
            await advance(1)
    assert swarm.said()[-1] == ("scout", "aye")


@virtual_time
async def test_provider_that_fails_after_its_first_words_leaves_what_was_heard() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(Text("well"))
    voice.after = RuntimeError("connection lost")
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT)
        async with a.host.staged("c", Loudspeaker()):
            await a.say("hello")
            await advance(1)
    _, answer = messages(swarm)
    assert (answer.text, answer.interrupted, answer.spoken_until) == ("well", True, 4)


@virtual_time
async def test_conversation_has_one_stage_on_a_server_and_is_a_text_room_without() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(Text("aye"))) as [a]:
        await a.begin(SCOUT)
        async with a.host.staged("c", Loudspeaker()):
            with pytest.raises(Refused, match="heard in another room"):
                async with a.host.staged("c", Loudspeaker()):
                    pass
        await advance(0)
        assert not a.host.hosts("c")
        await a.say("hello")
        await advance(1)
    assert swarm.said() == [("ada", "hello"), ("scout", "aye")]


@virtual_time
async def test_stage_learns_that_its_conversation_went_to_another_server() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", "b", voice=Voice(Text("aye"))) as [a, b]:
        await a.begin(SCOUT)
        stage = Loudspeaker()
        async with b.host.staged("c", stage) as room:
            await b.service.handover.fetch("c")
            assert not room.away.is_set()
            await a.say("hello")
            await advance(1)
            assert swarm.said() == [("ada", "hello"), ("scout", "aye")]
            b.freeze()
            await advance(10)
            await a.service.handover.fetch("c")
            b.thaw()
            await advance(5)
            assert room.away.is_set()


# -- hosts that die ------------------------------------------------------------------------------

STORY = "One. Two. Three."


@asynccontextmanager
async def orphaned(swarm: Swarm, voice: Voice) -> AsyncIterator[SwarmServer]:
    """Give a server beside one that fell silent when "One." of a story had just been heard."""
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.begin(SCOUT)
        async with a.host.staged("c", Loudspeaker()):
            await a.say("hello")
            await advance(0.65)
            a.freeze()
            await advance(7)
            yield b
            a.thaw()
            await advance(30)


@virtual_time
async def test_turn_that_was_cut_off_with_its_host_is_kept_once_and_answered_anew_aloud() -> None:
    swarm = Swarm()
    stage = Loudspeaker()
    async with orphaned(swarm, Voice(Text(STORY))) as b, b.host.staged("c", stage):
        await b.service.handover.fetch("c")
        await advance(0.3)
        assert stage.speaking == {"scout"}
        await advance(5)
        assert (await b.service.read("c")).entry.state.speech is None
    question, cut, answer = swarm.turns()
    assert (cut.text, cut.interrupted, cut.cut_off, cut.spoken_until) == (STORY, True, True, 4)
    assert (answer.text, answer.interrupted, answer.cut_off) == (STORY, False, False)
    assert cut.reply_to == answer.reply_to == question.id
    assert cut.id != answer.id
    # Since when it was heard, and when it was last known to be: not when that came to light.
    assert (cut.ended_at - cut.started_at).total_seconds() == pytest.approx(0.4, abs=0.05)


@virtual_time
async def test_bot_that_was_heard_waits_for_a_stage_and_lets_its_conversation_go_to_one() -> None:
    swarm = Swarm()
    async with orphaned(swarm, Voice(Text(STORY))) as b:
        await b.say("still there?")
        await advance(10)
        assert [who for who, _ in swarm.said()] == ["ada", "scout", "ada"]
        assert not b.host.hosts("c")
        stage = Loudspeaker()
        async with b.host.staged("c", stage):
            await advance(0.3)
            assert stage.speaking == {"scout"}
            await advance(5)
    assert [who for who, _ in swarm.said()] == ["ada", "scout", "ada", "scout"]


@virtual_time
async def test_bot_that_waits_in_vain_for_a_stage_answers_in_writing() -> None:
    swarm = Swarm()
    async with orphaned(swarm, Voice(Text(STORY))) as b:
        await b.service.handover.fetch("c")
        await advance(15)
        assert [turn.interrupted for turn in swarm.turns()] == [False, True]
        await advance(10)
        assert not b.host.hosts("c")
    assert [turn.interrupted for turn in swarm.turns()] == [False, True, False]


@virtual_time
async def test_bot_that_was_cut_off_obeys_the_loop_cap() -> None:
    swarm = Swarm()
    swarm.save("setting", "responder", decode_setting("responder", b'{"value":{"loop_cap":1}}'))
    async with orphaned(swarm, Voice(Text(STORY))) as b, b.host.staged("c", Loudspeaker()):
        await b.service.handover.fetch("c")
        await advance(10)
    assert [turn.cut_off for turn in swarm.turns()] == [False, True]


@virtual_time
async def test_voice_that_fails_at_its_end_leaves_no_speech_open() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(Text(STORY))) as [a]:
        await a.begin(SCOUT)
        stage = Loudspeaker()
        stage.fails = RuntimeError("the voice is gone")
        async with a.host.staged("c", stage):
            await a.say("hello")
            await advance(5)
            assert (await a.service.read("c")).entry.state.speech is None
    _, answer = swarm.turns()
    assert (answer.text, answer.cut_off, answer.spoken_until) == (STORY, True, 9)


@virtual_time
async def test_speech_whose_stage_goes_ends_with_its_living_host() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(Text(STORY))) as [a]:
        await a.begin(SCOUT)
        async with a.host.staged("c", Loudspeaker()):
            await a.say("hello")
            await advance(0.65)
        await advance(5)
        assert (await a.service.read("c")).entry.state.speech is None
    _, answer = swarm.turns()
    assert (answer.interrupted, answer.cut_off, answer.spoken_until) == (True, False, 6)
