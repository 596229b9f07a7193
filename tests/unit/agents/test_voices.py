"""What a voice is told not to do, for the library would; how bots come, and what they leave."""

import asyncio

import pytest

from src.agents.providers.models import Models
from src.agents.voices import Voice, Voices
from src.swarm.configs.bots import BotConfig
from tests.support.cluster_settings import eventually
from tests.support.venues import QuietMouth, QuietVenue


async def test_voice_can_be_interrupted_from_its_first_sound_and_is_never_away() -> None:
    options = Voice("scout", QuietMouth(), Models(), lambda: None).session.options
    assert (options.aec_warmup_duration, options.user_away_timeout) == (None, None)


async def test_voice_listens_to_nobody_and_has_no_detector() -> None:
    session = Voice("scout", QuietMouth(), Models(), lambda: None).session
    assert (session.vad, session.stt, session.turn_detection) == (None, None, "manual")


async def test_bots_enter_side_by_side() -> None:
    venue, bots = QuietVenue(), {"scout": "Scout", "tutor": "Tutor"}
    venue.kept_out |= bots.keys()
    voices = Voices(venue, Models())
    bringing = asyncio.create_task(voices.bring(bots))
    await eventually(lambda: venue.came == bots.keys(), what="two at the door")
    venue.opened.set()
    assert (await bringing, len(voices)) == ([], 2)
    await voices.aclose()


async def test_bot_that_is_in_is_not_forgotten_when_the_others_are_given_up() -> None:
    venue = QuietVenue()
    venue.kept_out.add("tutor")
    voices = Voices(venue, Models())
    bringing = asyncio.create_task(voices.bring({"scout": "Scout", "tutor": "Tutor"}))
    await eventually(lambda: len(voices) == 1 and "tutor" in venue.came, what="one in, one not")
    bringing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bringing
    assert len(voices) == 1
    await voices.aclose()


async def test_voice_that_cannot_close_gives_its_model_up() -> None:
    async with Models().running() as models:
        voice = Voice("scout", QuietMouth(), models, lambda: None)
        await voice.start()
        await voice.use(BotConfig("Scout"))
        assert [model.users for model in models.report("here").models] == [1]
        close = voice.session.aclose

        async def fail() -> None:
            await close()
            raise RuntimeError("not closed")

        voice.session.aclose = fail  # type: ignore[method-assign]  # as its library might
        with pytest.raises(RuntimeError, match="not closed"):
            await voice.aclose()
        assert [model.users for model in models.report("here").models] == [0]
