"""Speeches are noted as they are heard, beside the voice, and never in place of a turn."""

import asyncio

from src.state.background import background
from src.state.clock import SystemClock
from src.state.errors import DurableTierUnavailable
from src.swarm.dialogue.progress import MOST, Progress
from src.swarm.providers import Text
from src.swarm.shapes.commands import Command, NoteSpeech
from src.swarm.shapes.events import MessageAdded, SpeechHeard
from tests.support.clock import advance, settle, virtual_time
from tests.support.loudspeaker import Loudspeaker
from tests.support.rooms import SCOUT, Swarm, Voice

STORY = "One. Two. Three."


class Log:
    """Takes notes; while it is away none, and while it is slow none is answered."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, int]] = []
        self.keys: set[str] = set()
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def submit(self, id: str, command: Command, key: str, actor: str) -> None:
        assert isinstance(command, NoteSpeech)
        assert (id, actor) == ("c", "scout")
        if self.away:
            raise DurableTierUnavailable("it is away")
        self.keys.add(key)
        self.notes.append((command.text, command.heard))
        await self.answers.wait()


def heard(swarm: Swarm) -> list[tuple[str, int]]:
    return [(fact.text, fact.heard) for fact in swarm.facts() if isinstance(fact, SpeechHeard)]


@virtual_time
async def test_speech_is_noted_at_its_first_sound_and_at_the_end_of_each_sentence() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(Text(STORY), Text(" Four"))) as [a]:
        await a.begin(SCOUT)
        async with a.host.staged("c", Loudspeaker()):
            await a.say("hello")
            await advance(0.05)
            assert heard(swarm) == [(STORY, 0)]
            state = (await a.service.read("c")).entry.state
            assert state.speech is not None
            assert (state.speech.bot, state.speech.text) == ("scout", STORY)
            await advance(10)
    assert [count for _, count in heard(swarm)] == [0, 4, 9, 16]
    # All that was noted stands before the turn, which ends it.
    assert isinstance(swarm.facts()[-1], MessageAdded)
    assert swarm.said()[-1] == ("scout", f"{STORY} Four")


@virtual_time
async def test_turn_has_the_id_under_which_its_speech_was_noted() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(Text(STORY))) as [a]:
        await a.begin(SCOUT)
        async with a.host.staged("c", Loudspeaker()):
            await a.say("hello")
            await advance(10)
            assert (await a.service.read("c")).entry.state.speech is None
    question, answer = swarm.turns()
    noted = [fact for fact in swarm.facts() if isinstance(fact, SpeechHeard)]
    assert {note.id for note in noted} == {answer.id}
    assert {note.reply_to for note in noted} == {question.id}
    assert not answer.cut_off


@virtual_time
async def test_nothing_is_noted_of_what_is_only_written() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    async with swarm.open("a", voice=Voice(Text(STORY))) as [a]:
        await a.begin(SCOUT)
        await a.say("hello")
        await advance(1)
    assert swarm.said()[-1] == ("scout", STORY)
    assert heard(swarm) == []


@virtual_time
async def test_voice_waits_for_no_note_and_what_was_missed_is_in_the_next() -> None:
    log = Log()
    progress = Progress("c", log.submit, SystemClock())
    async with background(progress.run()):
        told = progress.begin("r:0", "scout", "q", None)
        log.answers.clear()
        told(STORY, 0)
        await settle()
        told(STORY, 4)
        told(STORY, 9)
        await settle()
        assert log.notes == [(STORY, 0)]
        log.answers.set()
        await settle()
        assert log.notes == [(STORY, 0), (STORY, 9)]
        log.away = True
        told(STORY, 16)
        await settle()
        log.away = False
        told(f"{STORY} Four.", 22)
        await settle()
    assert log.notes[2:] == [(f"{STORY} Four.", 22)]


@virtual_time
async def test_notes_of_a_speech_are_bounded_and_each_speech_has_its_own() -> None:
    log = Log()
    progress = Progress("c", log.submit, SystemClock())
    text = "Yes. " * (2 * MOST)
    async with background(progress.run()):
        for id in ("r:0", "s:0"):
            told = progress.begin(id, "scout", "q", None)
            for characters in range(0, len(text), 5):
                told(text, characters)
                await settle()
    assert len(log.notes) == len(log.keys) == 2 * MOST


@virtual_time
async def test_nothing_is_noted_of_a_speech_that_is_over() -> None:
    log = Log()
    progress = Progress("c", log.submit, SystemClock())
    async with background(progress.run()):
        earlier = progress.begin("r:0", "scout", "q", None)
        progress.end()
        earlier(STORY, 4)
        progress.begin("s:0", "scout", "q", None)
        earlier(STORY, 9)
        await settle()
    assert log.notes == []
