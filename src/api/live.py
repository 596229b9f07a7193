"""A live text session: one WebSocket, one caller, one conversation.

Client to server: {"type": "say", "text": ...} with the fields of a message, {"type": "command",
"command": {...}}, {"type": "ping"}; each may carry a `ref` that the answer repeats, and a `key`
that makes repeating safe.
Server to client: `ready`, `event` (every logged turn, of people and bots alike), `pending` (what a
room says while PostgreSQL is away), `ack`, `error`, `pong`. A frame that is wrong is answered with
an `error` that names the field; the session goes on.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from src.api.auth.door import Door
from src.api.auth.idempotency import key_of
from src.api.auth.principals import Principal
from src.api.bodies import Body, read_object
from src.api.dependencies import Wish
from src.api.errors import ApiError
from src.api.following import follow
from src.api.ids import new_id
from src.api.lifespan import Drain
from src.api.problems import describe
from src.api.rate_limits import RateLimits
from src.api.schemas.answers import EventItem, PendingItem, encode, event, pending
from src.api.settings import ApiSettings
from src.api.writing import say, submit
from src.state.errors import Refused, StateError
from src.state.models import Event, event_id
from src.swarm.errors import SwarmError
from src.swarm.forwarding import Receipt
from src.swarm.pending import PendingEvent
from src.swarm.service import SwarmService
from src.swarm.shapes.bounds import Id
from src.swarm.shapes.codec import decode_command

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


class Error(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="error"):
    """A frame was not taken; `problem` is as over HTTP."""

    problem: Any
    ref: str | None = None


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
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(settings.live_queue)
        self._close_code = ACCESS_ENDED

    async def run(self, version: str, after: int) -> None:
        """Serve until either side ends it. The socket is accepted already."""
        self._waiting.put_nowait(encode(Ready(self._id, version)))
        async with asyncio.TaskGroup() as tasks:
            parts = [
                tasks.create_task(part)
                for part in (self._read_frames(), self._follow(after), self._send_frames())
            ]
            for part in parts:
                # Whichever ends first ends the session.
                part.add_done_callback(lambda _: [one.cancel() for one in parts])
        if self._socket.application_state is WebSocketState.CONNECTED:
            await self._close()

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
        """Queue a frame; False when the client is too slow to be waited for."""
        try:
            self._waiting.put_nowait(encode(frame))
        except asyncio.QueueFull:
            # It may come back and go on after the last event that it has seen.
            self._close_code = TOO_SLOW
            return False
        return True

    async def _send_frames(self) -> None:
        try:
            while True:
                await self._socket.send_text((await self._waiting.get()).decode())
        except (WebSocketDisconnect, OSError):
            return

    # -- in --------------------------------------------------------------------------------------

    async def _read_frames(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if not self._put(await self._answer(message)):
                return

    async def _answer(self, message: Any) -> object:
        ref: str | None = None
        try:
            frame = self._frame(message)
            ref = _take_ref(frame)
            return await self._serve(frame, ref)
        except (StateError, SwarmError, ApiError) as error:
            return Error(describe(error), ref)

    def _frame(self, message: Any) -> Body:
        text = message.get("text")
        if text is None:
            raise Refused("invalid", "a text session takes text frames of JSON", field="body")
        if len(text) > self._max_chars:
            detail = f"the frame is longer than {self._max_chars} characters; send less"
            raise Refused("too_large", detail, field="body")
        # Text frames are UTF-8, so no half of a surrogate pair can be in them unescaped.
        return read_object(text.encode())

    async def _serve(self, frame: Body, ref: str | None) -> object:
        kind = frame.pop("type", None)
        if kind == "ping":
            _check_empty(frame)
            return Pong(ref)
        await self._limits.caller(self._socket, self._caller)
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
        detail = "type must be one of say, command, ping"
        raise Refused("invalid", detail, field="type")


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
