"""A live session: one WebSocket, one caller, one conversation, by text and by sound.

Client to server: {"type": "say", "text": ...} with the fields of a message, {"type": "command",
"command": {...}}, {"type": "ping"}; each may carry a `ref` that the answer repeats, and a `key`
that makes repeating safe.
Server to client: `ready`, `event` (every logged turn, of people and bots alike), `pending` (what a
room says while PostgreSQL is away), `ack`, `error`, `pong`. A frame that is wrong is answered with
an `error` that names the field; the session goes on.
{"type": "audio", "sample_rate": 24000} asks for sound, {"type": "hang_up"} ends it; see
`live_sound.py`.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, cast

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from src.api.auth.door import Door
from src.api.auth.idempotency import key_of
from src.api.auth.principals import Principal
from src.api.auth.rules import may_speak, speaker
from src.api.bodies import Body, read_object
from src.api.dependencies import Wish
from src.api.errors import ApiError, Forbidden
from src.api.following import follow
from src.api.ids import new_id
from src.api.lifespan import Drain
from src.api.live_sound import SAMPLE_RATES, Error, LiveSound
from src.api.problems import describe
from src.api.rate_limits import RateLimits
from src.api.schemas.answers import encode
from src.api.settings import ApiSettings
from src.api.writing import say, submit
from src.state.errors import Refused, StateError
from src.state.models import Event, event_id
from src.swarm.errors import SwarmError
from src.swarm.forwarding import Receipt
from src.swarm.pending import PendingEvent
from src.swarm.rooms.calls import Caller, Calls
from src.swarm.service import SwarmService
from src.swarm.shapes.bounds import Id
from src.swarm.shapes.codec import decode_command
from src.swarm.told import EventItem, PendingItem, event, pending

GOING_AWAY = 1001
TOO_SLOW = 1013
ACCESS_ENDED = 1008

_HINTS = {
    GOING_AWAY: "this server is going away; connect again with after=<last seq>",
    TOO_SLOW: "too slow to be waited for; connect again with after=<last seq>",
}
_Key = msgspec.json.Decoder(Id)
_MAX_REF_CHARS = 128
_GOODBYE_S = 5.0


class Ready(msgspec.Struct, frozen=True, gc=False, tag="ready"):
    """The session has begun: events after this version follow."""

    conversation_id: str
    version: str


class EventFrame(msgspec.Struct, frozen=True, gc=False, tag="event"):
    """Something was logged."""

    event: EventItem


class PendingFrame(msgspec.Struct, frozen=True, gc=False, tag="pending"):
    """Something was said while PostgreSQL is away; logged, it is an event of the same id."""

    event: PendingItem


class Ack(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="ack"):
    """A frame was taken; `id` is the message's, for `say`."""

    version: str
    durability: str
    ref: str | None = None
    id: str | None = None
    repeated: bool = False


class Pong(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="pong"):
    """This server answers."""

    ref: str | None = None


class Session:
    """Reads frames, follows the conversation, and sends both kinds of news through one queue."""

    def __init__(
        self,
        socket: WebSocket,
        service: SwarmService,
        door: Door,
        caller: Principal,
        conversation_id: str,
        settings: ApiSettings,
        drain: Drain,
        limits: RateLimits,
        calls: Calls | None = None,
    ) -> None:
        self._socket = socket
        self._limits = limits
        self._service = service
        self._door = door
        self._caller = caller
        self._id = conversation_id
        self._drain = drain
        self._max_chars = settings.max_body_bytes
        self._idle_s = settings.keep_alive.total_seconds()
        self._waiting: asyncio.Queue[str | bytes] = asyncio.Queue(settings.live_queue)
        self._close_code = ACCESS_ENDED
        self._sound = LiveSound(calls, conversation_id, self._send_or_end)
        self._parts: list[asyncio.Task[None]] = []
        self._sounding: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, version: str, after: int) -> None:
        """Serve until either side ends it. The socket is accepted already."""
        self._put(Ready(self._id, version))
        async with asyncio.TaskGroup() as self._tasks:
            self._parts = [
                self._tasks.create_task(part)
                for part in (self._read_frames(), self._follow(after), self._send_frames())
            ]
            for part in self._parts:
                # Whichever ends first ends the session.
                part.add_done_callback(lambda _: self._end())
        if self._socket.application_state is WebSocketState.CONNECTED:
            await self._close()

    def _end(self) -> None:
        for part in self._parts:
            part.cancel()
        if self._sounding is not None:
            # It hangs up, and keeps the last words.
            self._sounding.cancel()

    async def _close(self) -> None:
        try:
            # Who reads nothing does not take a goodbye either.
            async with asyncio.timeout(_GOODBYE_S):
                await self._socket.close(self._close_code, _HINTS.get(self._close_code))
        except (RuntimeError, OSError, WebSocketDisconnect):
            # It went away in the same moment; TimeoutError is an OSError.
            return

    # -- out -------------------------------------------------------------------------------------

    async def _follow(self, after: int) -> None:
        events = follow(
            self._service,
            self._drain,
            self._door,
            self._caller,
            self._id,
            after=after,
            idle_s=self._idle_s,
        )
        async with aclosing(events) as logged:
            async for one in logged:
                if one is not None and not self._put(_frame_of(one)):
                    return
        if self._drain.begun:
            self._close_code = GOING_AWAY

    def _put(self, frame: object) -> bool:
        """Queue a frame, or sound as bytes; False when the client is too slow to be waited for."""
        try:
            ready = frame if isinstance(frame, bytes) else encode(frame).decode()
            self._waiting.put_nowait(ready)
        except asyncio.QueueFull:
            # It may come back and go on after the last event that it has seen.
            self._close_code = TOO_SLOW
            return False
        return True

    def _send_or_end(self, frame: object) -> None:
        if not self._put(frame):
            self._end()

    async def _send_frames(self) -> None:
        try:
            while True:
                frame = await self._waiting.get()
                if isinstance(frame, bytes):
                    await self._socket.send_bytes(frame)
                else:
                    await self._socket.send_text(frame)
        except (WebSocketDisconnect, OSError):
            return

    # -- in --------------------------------------------------------------------------------------

    async def _read_frames(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            answer = await self._answer(message)
            if answer is not None and not self._put(answer):
                return

    async def _answer(self, message: Any) -> object | None:
        """Return what is answered at once; None: nothing is."""
        ref: str | None = None
        try:
            if message.get("text") is None:
                self._sound.hear(message.get("bytes") or b"")
                return None
            frame = self._frame(message)
            ref = _take_ref(frame)
            return await self._serve(frame, ref)
        except (StateError, SwarmError, ApiError) as error:
            return Error(describe(error), ref)

    def _frame(self, message: Any) -> Body:
        text = message["text"]
        if len(text) > self._max_chars:
            detail = f"the frame is longer than {self._max_chars} characters; send less"
            raise Refused("too_large", detail, field="body")
        # Text frames are UTF-8, so no half of a surrogate pair can be in them unescaped.
        return read_object(text.encode())

    async def _serve(self, frame: Body, ref: str | None) -> object | None:
        kind = frame.pop("type", None)
        if kind == "ping":
            _check_empty(frame)
            return Pong(ref)
        if kind == "hang_up":
            _check_empty(frame)
            self._sound.hang_up()
            return None
        await self._limits.caller(self._socket, self._caller)
        if kind == "audio":
            await self._begin_sound(frame, ref)
            return None
        wish = Wish(_take_key(frame, self._caller))
        if kind == "say":
            message_id = frame.get("id") or event_id(wish.key, 0)
            receipt = await say(self._service, self._caller, self._id, frame, wish)
            return _ack(receipt, ref, message_id)
        if kind == "command":
            asked = frame.pop("command", None)
            _check_empty(frame)
            command = decode_command(msgspec.json.encode(asked))
            await self._limits.command(self._socket, self._caller, command)
            return _ack(await submit(self._service, self._caller, self._id, command, wish), ref)
        detail = "type must be one of say, command, audio, hang_up, ping"
        raise Refused("invalid", detail, field="type")

    async def _begin_sound(self, frame: Body, ref: str | None) -> None:
        rate = frame.pop("sample_rate", SAMPLE_RATES[-2])
        _check_empty(frame)
        if rate not in SAMPLE_RATES:
            detail = f"sample_rate must be one of {', '.join(map(str, SAMPLE_RATES))}"
            raise Refused("invalid", detail, field="sample_rate")
        if self._sounding is not None and not self._sounding.done():
            raise Refused("exists", "this session has sound already; send hang_up first")
        state = (await self._service.read(self._id)).entry.state
        author = speaker(self._caller, state)
        if not may_speak(self._caller, state) or author.kind != "person":
            raise Forbidden("sound is for people of the conversation; yours is no such member")
        member = state.participant(author.id)
        name = author.id if member is None else member.name
        caller = Caller(author.id, name, self._caller.id)
        tasks = cast("asyncio.TaskGroup", self._tasks)
        self._sounding = tasks.create_task(self._sound.run(caller, cast("int", rate), ref))


def _frame_of(one: Event | PendingEvent) -> EventFrame | PendingFrame:
    if isinstance(one, PendingEvent):
        return PendingFrame(pending(one.event))
    return EventFrame(event(one))


def _ack(receipt: Receipt, ref: str | None, message_id: str | None = None) -> Ack:
    return Ack(receipt.version.token, receipt.durability.value, ref, message_id, receipt.repeated)


def _take_ref(frame: Body) -> str | None:
    ref = frame.pop("ref", None)
    if ref is not None and not (isinstance(ref, str) and len(ref) <= _MAX_REF_CHARS):
        detail = f"ref must be a text of at most {_MAX_REF_CHARS} characters"
        raise Refused("invalid", detail, field="ref")
    return ref


def _take_key(frame: Body, caller: Principal) -> str:
    key = frame.pop("key", None)
    if key is None:
        return new_id()
    try:
        return key_of(caller, _Key.decode(msgspec.json.encode(key)))
    except msgspec.ValidationError as error:
        raise Refused("invalid", f"key: {error}", field="key") from error


def _check_empty(frame: Body) -> None:
    for name in frame:
        raise Refused("invalid", f"{name[:64]!r} is no field of this frame", field=name)
