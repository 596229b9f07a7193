"""What a voice is told not to do: the library would do it."""

from livekit.agents import AgentSession
from livekit.agents.voice.io import TextOutput

from src.agents.providers.models import Models
from src.agents.voices import Voice


class Silent:
    """A mouth that nobody hears."""

    async def open(self, session: AgentSession[None], words: TextOutput, lost: object) -> None:
        raise AssertionError("nobody speaks here")

    async def aclose(self) -> None:
        """Leave: it was never there."""


async def test_voice_can_be_interrupted_from_its_first_sound_and_is_never_away() -> None:
    options = Voice("scout", Silent(), Models(), lambda: None).session.options
    assert (options.aec_warmup_duration, options.user_away_timeout) == (None, None)


async def test_voice_listens_to_nobody_and_has_no_detector() -> None:
    session = Voice("scout", Silent(), Models(), lambda: None).session
    assert (session.vad, session.stt, session.turn_detection) == (None, None, "manual")
