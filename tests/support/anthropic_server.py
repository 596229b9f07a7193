"""A local server that speaks Anthropic's protocol: messages in a stream, with tools."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from tests.support.listening import listening

Block = Mapping[str, Any]


class AnthropicServer:
    """Answers from a script, one entry a request, and keeps what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.replies: list[Sequence[Block]] = []
        """Blocks of the next answers."""

    async def messages(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("x-api-key"))
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        message: dict[str, object] = {
            "id": "message-1",
            "type": "message",
            "role": "assistant",
            "model": "local",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        await _send(answer, "message_start", message=message)
        for index, block in enumerate(self.replies.pop(0)):
            empty = {**block, **({"text": ""} if block["type"] == "text" else {"input": {}})}
            await _send(answer, "content_block_start", index=index, content_block=empty)
            for delta in _deltas(block):
                await _send(answer, "content_block_delta", index=index, delta=delta)
            await _send(answer, "content_block_stop", index=index)
        await _send(
            answer,
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": 2},
        )
        await _send(answer, "message_stop")
        return answer


def text(words: str) -> Block:
    """A block of text."""
    return {"type": "text", "text": words}


def use(name: str, **arguments: object) -> Block:
    """A block that calls a tool."""
    return {"type": "tool_use", "id": f"use-{name}", "name": name, "input": arguments}


def _deltas(block: Block) -> Sequence[Block]:
    """A block's content in two pieces."""
    if block["type"] == "text":
        kind, key, whole = "text_delta", "text", block["text"]
    else:
        kind, key = "input_json_delta", "partial_json"
        whole = msgspec.json.encode(block["input"]).decode()
    middle = len(whole) // 2
    return [{"type": kind, key: piece} for piece in (whole[:middle], whole[middle:])]


async def _send(answer: web.StreamResponse, event: str, **fields: object) -> None:
    data = msgspec.json.encode({"type": event, **fields}).decode()
    await answer.write(f"event: {event}\ndata: {data}\n\n".encode())


@asynccontextmanager
async def anthropic_server() -> AsyncIterator[AnthropicServer]:
    server = AnthropicServer()
    app = web.Application()
    app.router.add_post("/v1/messages", server.messages)
    async with listening(app) as url:
        server.url = url
        yield server
