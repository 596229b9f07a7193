"""A server is killed while a bot of its room is heard: what was heard is kept, and said anew."""

from __future__ import annotations

import asyncio
import sys

from src.swarm.providers import Text
from tests.support.cluster_runtimes import SHORT, open_database, open_members
from tests.support.cluster_settings import eventually
from tests.support.loudspeaker import Loudspeaker
from tests.support.rooms import Voice
from tests.support.speaking import SENTENCE, STORY

_NOTED = (
    "SELECT max((convert_from(body, 'UTF8')::jsonb ->> 'heard')::int) FROM events "
    "WHERE conversation_id = 'c' AND type = 'speech_heard'"
)
_TURNS_OF_BOT = (
    "SELECT convert_from(body, 'UTF8')::jsonb ->> 'message' FROM events WHERE type = "
    "'message_added' AND convert_from(body, 'UTF8')::jsonb #>> '{message,author,id}' = 'scout'"
)


async def test_turn_that_a_killed_server_was_speaking_is_there_once_and_is_answered_anew(
    database_url: str, redis_url: str
) -> None:
    voices = {"test/voice": Voice(Text("Where was I?"))}
    async with (
        open_database(database_url) as database,
        open_members(database_url, redis_url, 1, providers=voices, **SHORT) as [survivor],
    ):
        speaking = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.speaking", database_url, redis_url
        )
        try:

            async def heard_a_sentence() -> bool:
                return (await database.value(_NOTED) or 0) >= len(SENTENCE) - 1

            await eventually(heard_a_sentence, within_s=60, what="a sentence of the story")
        finally:
            speaking.kill()
            await speaking.wait()
        noted = await database.value(_NOTED)
        stage = Loudspeaker()
        async with survivor.runtime.host.staged("c", stage):

            async def answered_anew() -> bool:
                return len(await database.column(_TURNS_OF_BOT)) >= 2

            await eventually(answered_anew, within_s=60, what="an answer by the survivor")
        state = (await survivor.read("c")).entry.state
    question, cut, answer = state.messages
    assert (cut.text, cut.spoken_until) == (STORY, noted)
    assert (cut.interrupted, cut.cut_off, cut.reply_to) == (True, True, question.id)
    assert (answer.text, answer.interrupted, answer.reply_to) == (
        "Where was I?",
        False,
        question.id,
    )
    assert stage.most == 1, "it was said aloud"
    assert state.speech is None
