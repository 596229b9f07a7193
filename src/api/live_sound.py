"""The sound of a live session: binary frames both ways, once the client has asked for it.

The conversation is hosted on the server where the session is for as long as that lasts, with the
floor, the responder and the voices of any room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from src.api.errors import ApiError, NotConfigured
from src.api.pace import Pace
from src.api.problems import Problem, describe
from src.state.errors import Refused, StateError
from src.swarm.errors import SwarmError
from src.swarm.rooms.calls import Caller, Calls, Line

SAMPLE_RATES = (8_000, 16_000, 24_000, 48_000)
_BYTES = 2
"""Of one sample."""
_MAX_FRAME_S = 1.0


class Error(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="error"):
    """A frame was not taken; `problem` is as over HTTP."""

    problem: Problem
    ref: str | None = None


class Audio(msgspec.Struct, frozen=True, gc=False, tag="audio"):
    """Sound may be sent, and will come, from now on; or no more."""

    state: Literal["on", "off"]
    sample_rate: int
    encoding: Literal["pcm16"] = "pcm16"
    channels: int = 1
    ref: str | None = None


class Clear(msgspec.Struct, frozen=True, gc=False, tag="clear"):
    """Drop the sound that came and was not played yet: a person speaks."""


class LiveSound:
    """`Wire` of a live session; `send` takes frames, and sound as bytes."""

    echoes = False

    def __init__(
        self, calls: Calls | None, conversation_id: str, send: Callable[[object], None]
    ) -> None:
        self._calls, self._id, self._send = calls, conversation_id, send
        self._line: Line | None = None
        self._pace = Pace()
        self.sample_rate = 0

    async def run(self, caller: Caller, sample_rate: int, ref: str | None) -> None:
        """Host the conversation until the sound is over; what is in the way is sent."""
        self.sample_rate = sample_rate

        def begun(line: Line) -> None:
            self._line = line
            self._send(Audio("on", sample_rate, ref=ref))

        try:
            if self._calls is None:
                raise NotConfigured(
                    "this server takes no sound: start it with `swarmstate serve --rooms`"
                )
            await self._calls.host(self._id, caller, self, begun)
        except (StateError, SwarmError, ApiError) as error:
            self._send(Error(describe(error), ref))
        if self._line is not None:
            self._line = None
            self._send(Audio("off", sample_rate))

    def hang_up(self) -> None:
        """End the sound; the session goes on."""
        if self._line is not None:
            self._line.hang_up()

    def hear(self, pcm: bytes) -> None:
        """Take what the person says.

        Raises:
            Refused: sound was not asked for, or comes too fast; or it is no sound.
        """
        if self._line is None:
            detail = 'sound is taken after {"type": "audio"} was answered; else send text frames'
            raise Refused("invalid", detail, field="body")
        if not pcm or len(pcm) % _BYTES:
            raise Refused("invalid", "sound is PCM of 16 bits, two bytes a sample", field="body")
        seconds = len(pcm) / _BYTES / self.sample_rate
        if seconds > _MAX_FRAME_S:
            raise Refused("too_large", "a frame holds a second of sound at most", field="body")
        if not self._pace.takes(seconds):
            detail = "sound comes faster than it is spoken; this frame was left out"
            raise Refused("too_fast", detail, field="body")
        self._line.hear(pcm)

    # -- the wire --------------------------------------------------------------------------------

    def sound(self, pcm: bytes) -> None:
        self._send(pcm)

    def clear(self) -> None:
        self._send(Clear())

    def mark(self, name: str) -> None:
        """Clients of a session are not asked what they have played."""
