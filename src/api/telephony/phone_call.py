"""One telephone call: a company's messages in, a bot's sound out, and a conversation of its own.

The conversation is hosted here for as long as the call lasts, with the floor, the responder and
the voices of any room. A message that is broken is left out; a call is not ended by it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from src.api.livekit.making import members_of
from src.api.pace import Pace
from src.api.telephony import mulaw, twilio
from src.state.background import background
from src.state.errors import Overloaded, StateError
from src.swarm.errors import SwarmError
from src.swarm.rooms.calls import Caller, Calls, Line
from src.swarm.service import SwarmService
from src.swarm.shapes.codec import decode_command, encode_command
from src.swarm.shapes.commands import (
    Command,
    Create,
    NewParticipant,
    PostMessage,
    SetParticipantState,
    Speaker,
)
from src.swarm.shapes.config import Config

log = structlog.get_logger(__name__)

PERSON = "caller"
"""Who calls, as a participant of the call's conversation."""
_START_S = 10.0
"""How long the message `start` may take to come."""
_DEAD_S = 30.0
"""A line on which nothing comes for so long is dead: silence is sent too."""
_LAST_WORDS_S = 15.0
_GOODBYE_S = 5.0
_QUEUE = 256
"""Messages that may wait to be sent: five seconds of sound."""
_EARLY = 250
"""Pieces of sound that are kept until the line is there: five seconds."""
_REASON_BYTES = 120
"""Of the 123 that a WebSocket has for it."""


class End(NamedTuple):
    """How a call ended, as a WebSocket says it."""

    code: int
    reason: str


_HUNG_UP = End(1000, "")
_AWAY = End(1001, "this server is going away; call again")
_NO_START = End(1008, "no message `start` came first")
_BAD_FORMAT = End(1003, "sound must be audio/x-mulaw, 8000 samples a second, one channel")
_TOO_LONG = End(1009, f"a message is longer than {twilio.MAX_CHARS} characters")
_TOO_SLOW = End(1013, "sound is not taken")


class PhoneCall:
    """`Wire` of one call on Twilio's media streams."""

    sample_rate, echoes = mulaw.SAMPLE_RATE, True

    def __init__(
        self, socket: WebSocket, service: SwarmService, calls: Calls, team: str, maker: str
    ) -> None:
        self._socket, self._service, self._calls = socket, service, calls
        self._team, self._maker = team, maker
        self._sid = ""
        self._conversation = ""
        self._waiting: asyncio.Queue[str] = asyncio.Queue(_QUEUE)
        self._line: Line | None = None
        self._early: deque[bytes] = deque(maxlen=_EARLY)
        """What was said while the line was made."""
        self._pace = Pace()
        self._over: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self.left_out = 0
        """Messages that were broken, or came too fast or at the wrong time."""

    async def run(self) -> None:
        """Serve until either side ends the call. The socket is accepted already."""
        began = await self._began()
        if began is not None:
            await self._talk(began)
        end = self._over.result()
        log.info(
            "phone.over",
            conversation_id=self._conversation,
            code=end.code,
            reason=end.reason,
            left_out=self.left_out,
        )
        if self._socket.application_state is WebSocketState.CONNECTED:
            await self._close(end)

    async def _began(self) -> twilio.Began | None:
        """Wait for the stream to begin; None: it does not."""
        try:
            async with asyncio.timeout(_START_S):
                while not self._over.done():
                    message = await self._receive()
                    if message is None or message.event == "connected":
                        continue
                    if message.start is not None:
                        return message.start
                    if message.event == "stop":
                        self._end(_HUNG_UP)
                    else:
                        self.left_out += 1
        except TimeoutError:
            self._end(_NO_START)
        return None

    async def _talk(self, began: twilio.Began) -> None:
        sound = began.media_format
        if (sound.encoding, sound.sample_rate, sound.channels) != (twilio.ENCODING, 8_000, 1):
            self._end(_BAD_FORMAT)
            return
        self._sid, self._conversation = began.stream_sid, f"call-{began.call_sid}"
        async with background(self._read(), self._send()):
            hosting = asyncio.create_task(self._host(began))
            try:
                await asyncio.wait((hosting, self._over), return_when=asyncio.FIRST_COMPLETED)
                if self._line is not None:
                    self._line.hang_up()
                    await asyncio.wait((hosting,), timeout=_LAST_WORDS_S)
            finally:
                # What was said last is logged, also when this server is in a hurry.
                hosting.cancel()
                await asyncio.wait((hosting,), timeout=_LAST_WORDS_S)
            if hosting.done() and not hosting.cancelled():
                hosting.result()

    async def _host(self, began: twilio.Began) -> None:
        given = began.custom_parameters
        user_id = given.get("user_id")
        caller = Caller(PERSON, given.get("name") or "Caller", user_id)
        try:
            await self._create(caller)
            try:
                await self._calls.host(self._conversation, caller, self, self._begun)
            finally:
                gone = SetParticipantState(PERSON, "left")
                await self._submit(gone, f"left-{self._sid}")
        except Overloaded as error:
            self._end(End(1013, str(error)))
        except (StateError, SwarmError) as error:
            self._end(End(1011, str(error)))
        # Whoever ended it before has said why.
        self._end(_AWAY)

    async def _create(self, caller: Caller) -> None:
        """Begin the call's conversation; a second stream of the same call goes on with it."""
        person = NewParticipant(PERSON, "person", caller.name, user_id=caller.user_id)
        bots = await members_of(self._service, self._team)
        create = Create(self._conversation, Config(team_id=self._team), (*bots, person))
        begun = await self._service.in_force.begun(create)
        await self._submit(begun, "begin", create=True)

    async def _submit(self, command: Command, key: str, *, create: bool = False) -> None:
        # What a call brings is as foreign as what HTTP does: names and ids have bounds.
        checked = decode_command(encode_command(command))
        id = self._conversation
        await self._service.submit(
            id, checked, key=f"phone-{key}", actor=self._maker, create=create
        )

    def _begun(self, line: Line) -> None:
        self._line = line
        while self._early:
            line.hear(self._early.popleft())

    # -- in --------------------------------------------------------------------------------------

    async def _receive(self) -> twilio.Message | None:
        """Return the next message; None: it was left out, or the connection is over."""
        received = await self._socket.receive()
        text = received.get("text")
        if received["type"] == "websocket.disconnect":
            self._end(_HUNG_UP)
        elif text is None:
            self.left_out += 1
        elif len(text) > twilio.MAX_CHARS:
            self._end(_TOO_LONG)
        else:
            try:
                return twilio.read(text)
            except twilio.BadMessage as error:
                self._leave_out(error)
        return None

    async def _read(self) -> None:
        while not self._over.done():
            try:
                async with asyncio.timeout(_DEAD_S):
                    message = await self._receive()
            except TimeoutError:
                self._end(End(1008, f"nothing came for {_DEAD_S:.0f} s"))
                return
            if message is not None:
                await self._take(message)

    async def _take(self, message: twilio.Message) -> None:
        try:
            if message.event == "stop":
                self._end(_HUNG_UP)
            elif message.event == "media" and message.media is not None:
                self._hear(message.media)
            elif message.event == "mark" and message.mark is not None:
                if self._line is not None:
                    self._line.played(message.mark.name)
            elif message.event == "dtmf" and message.dtmf is not None:
                await self._press(message.dtmf.digit, message.sequence_number)
            elif message.event == "start":
                self.left_out += 1
        except (twilio.BadMessage, StateError) as error:
            self._leave_out(error)

    def _hear(self, media: twilio.Media) -> None:
        if media.track != "inbound":
            return
        codes = twilio.sound(media)
        if not self._pace.takes(len(codes) / mulaw.SAMPLE_RATE):
            raise twilio.BadMessage("sound comes faster than it is spoken")
        if codes and self._line is None:
            self._early.append(mulaw.decode(codes))
        elif codes and self._line is not None:
            self._line.hear(mulaw.decode(codes))

    async def _press(self, digit: str, number: str) -> None:
        """A key is a turn of who calls: bots may ask for one."""
        turn = PostMessage(Speaker("person", PERSON), f"[key {digit}]")
        await self._submit(turn, f"key-{self._sid}-{number}")

    def _leave_out(self, error: Exception) -> None:
        self.left_out += 1
        log.debug("phone.left_out", conversation_id=self._conversation, why=str(error)[:200])

    # -- out -------------------------------------------------------------------------------------

    def sound(self, pcm: bytes) -> None:
        self._put(twilio.media(self._sid, mulaw.encode(pcm)))

    def clear(self) -> None:
        self._put(twilio.clear(self._sid))

    def mark(self, name: str) -> None:
        self._put(twilio.mark(self._sid, name))

    def _put(self, message: str) -> None:
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self._end(_TOO_SLOW)

    async def _send(self) -> None:
        try:
            while True:
                await self._socket.send_text(await self._waiting.get())
        except (WebSocketDisconnect, OSError, RuntimeError):
            self._end(_HUNG_UP)

    def _end(self, end: End) -> None:
        if not self._over.done():
            self._over.set_result(end)

    async def _close(self, end: End) -> None:
        reason = end.reason.encode()[:_REASON_BYTES].decode("utf-8", "ignore")
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await self._socket.close(end.code, reason or None)
        except (RuntimeError, OSError, WebSocketDisconnect):
            # It went away in the same moment; TimeoutError is an OSError.
            return
