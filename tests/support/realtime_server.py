"""A local server that speaks OpenAI's realtime protocol: a session by websocket, text and sound."""

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from src.agents.providers.tone import tone
from tests.support.listening import listening

Item = Mapping[str, Any]


class RealtimeServer:
    """Answers from a script, one entry an answer, and keeps what it was asked and given."""

    def __init__(self) -> None:
        self.url = ""
        self.replies: list[Sequence[Item]] = []
        """Items of the next answers."""
        self.connections: list[_Connection] = []
        self.mute = False
        """It takes everything in and answers nothing."""

    @property
    def open(self) -> int:
        """Connections that stand."""
        return sum(not one.socket.closed for one in self.connections)

    async def accept(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        connection = _Connection(self, socket, dict(request.query))
        self.connections.append(connection)
        async for message in socket:
            if message.type is WSMsgType.TEXT and not self.mute:
                await connection.take(msgspec.json.decode(message.data))
        return socket


class _Connection:
    def __init__(
        self, server: RealtimeServer, socket: web.WebSocketResponse, query: Mapping[str, str]
    ) -> None:
        self._server, self.socket, self.query = server, socket, query
        self.session: dict[str, Any] = {}
        self.items: dict[str, dict[str, Any]] = {}
        """The conversation as the model has it, in order."""
        self.cancelled = 0
        self.seen: list[Sequence[tuple[str, str]]] = []
        """Before each answer: (role, text) of every message."""
        self._made = 0

    async def take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                self.session.update(event["session"])
            case "conversation.item.create":
                await self._add(event["item"], event.get("previous_item_id"))
            case "conversation.item.delete":
                del self.items[event["item_id"]]
                await self._send("conversation.item.deleted", item_id=event["item_id"])
            case "response.create":
                self.seen.append([_read(item) for item in self.items.values()])
                await self._answer(event["response"]["metadata"])
            case "response.cancel":
                self.cancelled += 1

    async def _add(self, item: dict[str, Any], previous: str | None) -> None:
        known = list(self.items.items())
        place = [id for id, _ in known].index(previous) + 1 if previous in self.items else 0
        self.items = dict([*known[:place], (item["id"], item), *known[place:]])
        await self._send("conversation.item.added", item=item, previous_item_id=previous)

    async def _answer(self, metadata: Mapping[str, str]) -> None:
        self._made += 1
        id = f"answer-{self._made}"
        response = {"id": id, "object": "realtime.response", "metadata": metadata, "output": []}
        await self._send("response.created", response={**response, "status": "in_progress"})
        for index, item in enumerate(self._server.replies.pop(0)):
            await self._say({**item, "id": f"{id}-{index}"}, response_id=id, output_index=index)
        usage = {"total_tokens": 2, "input_tokens": 1, "output_tokens": 1}
        await self._send("response.done", response={**response, "status": "completed", **usage})

    async def _say(self, item: dict[str, Any], **where: object) -> None:
        words = item.pop("words", "")
        sound = item.pop("sound", None)
        await self._send("response.output_item.added", item=item, **where)
        last = next(reversed(self.items), None)
        await self._add(item, last)
        if item["type"] == "message":
            within = {**where, "item_id": item["id"], "content_index": 0}
            part = {"type": "text", "text": ""} if sound is None else {"type": "audio"}
            await self._send("response.content_part.added", part=part, **within)
            kind = "text" if sound is None else "audio_transcript"
            for word in words.split(" "):
                await self._send(f"response.output_{kind}.delta", delta=f"{word} ", **within)
            for piece in sound or ():
                delta = base64.b64encode(piece).decode()
                await self._send("response.output_audio.delta", delta=delta, **within)
        await self._send("response.output_item.done", item=item, **where)

    async def _send(self, kind: str, **fields: object) -> None:
        event = {"type": kind, "event_id": f"{kind}-{self._made}", **fields}
        await self.socket.send_str(msgspec.json.encode(event).decode())


def spoken(words: str, seconds: float = 0.2, pieces: int = 2) -> Item:
    """An answer with sound."""
    sound = [tone(440.0, seconds / pieces) for _ in range(pieces)]
    return {**written(words), "sound": sound}


def written(words: str) -> Item:
    """An answer in text alone."""
    return {
        "type": "message",
        "object": "realtime.item",
        "role": "assistant",
        "status": "completed",
        "content": [],
        "words": words,
    }


def use(name: str, **arguments: object) -> Item:
    """A call of a tool."""
    return {
        "type": "function_call",
        "object": "realtime.item",
        "name": name,
        "call_id": f"call-{name}",
        "arguments": msgspec.json.encode(arguments).decode(),
        "status": "completed",
    }


def _read(item: Mapping[str, Any]) -> tuple[str, str]:
    content = "".join(part.get("text", "") for part in item.get("content", ()))
    return item.get("role", item["type"]), content or str(item.get("output", ""))


@asynccontextmanager
async def realtime_server() -> AsyncIterator[RealtimeServer]:
    server = RealtimeServer()
    app = web.Application()
    app.router.add_get("/v1/realtime", server.accept)
    async with listening(app) as url:
        server.url = f"{url}/v1"
        yield server
