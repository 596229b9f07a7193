"""A local server that speaks OpenAI's protocol: chat with tools, speech, and transcription."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from src.agents.providers.tone import tone
from tests.support.listening import listening


class OpenAiServer:
    """Answers from a script, one entry a request, and keeps what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.replies: list[Sequence[dict[str, Any]]] = []
        """Deltas of the next chat answers."""
        self.transcript = "Good morning."
        self.failing = False

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        if self.failing:
            return web.json_response({"error": {"message": "down"}}, status=500)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        deltas = self.replies.pop(0)
        for delta in deltas:
            await _send(answer, {"delta": delta, "index": 0, "finish_reason": None})
        reason = "tool_calls" if any("tool_calls" in delta for delta in deltas) else "stop"
        await _send(answer, {"delta": {}, "index": 0, "finish_reason": reason})
        await answer.write(b"data: [DONE]\n\n")
        return answer

    async def speech(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers.get("Authorization"))
        return web.Response(
            body=tone(440.0, 0.05 * len(body["input"])), headers={"Content-Type": "audio/pcm"}
        )

    async def transcriptions(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.keys.append(request.headers.get("Authorization"))
        self.asked.append({name: str(value) for name, value in form.items() if name != "file"})
        return web.json_response({"text": self.transcript})


def call(name: str, arguments: dict[str, Any], index: int = 0) -> dict[str, Any]:
    """A delta that calls a tool."""
    function = {"name": name, "arguments": msgspec.json.encode(arguments).decode()}
    return {
        "tool_calls": [
            {"index": index, "id": f"call-{index}", "type": "function", "function": function}
        ]
    }


async def _send(answer: web.StreamResponse, choice: dict[str, Any]) -> None:
    chunk = {
        "id": "chat-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "local",
        "choices": [choice],
    }
    await answer.write(b"data: " + msgspec.json.encode(chunk) + b"\n\n")


@asynccontextmanager
async def openai_server() -> AsyncIterator[OpenAiServer]:
    server = OpenAiServer()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_post("/v1/audio/speech", server.speech)
    app.router.add_post("/v1/audio/transcriptions", server.transcriptions)
    async with listening(app) as url:
        server.url = f"{url}/v1"
        yield server
