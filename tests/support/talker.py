"""A client of a live session with sound: a person who speaks in tones, and keeps what comes."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from src.agents.providers.tone import SAMPLE_RATE, tone
from tests.support.calls import PIECE_S


class Talker:
    """A client of one session: speaks, and keeps all that comes."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.sound = bytearray()
        self.frames: list[dict[str, Any]] = []

    async def begin(self, **given: Any) -> dict[str, Any]:
        """Ask for sound; return the answer."""
        await self._socket.send_json({"type": "audio", "ref": "a", **given})
        while True:
            answer: dict[str, Any] = await self._socket.receive_json()
            if answer.get("ref") == "a":
                return answer

    async def say(self, hz: float) -> None:
        """Speak and be silent then, at the pace of sound."""
        pcm = tone(hz, 0.6) + bytes(SAMPLE_RATE)
        step = int(PIECE_S * SAMPLE_RATE) * 2
        for start in range(0, len(pcm), step):
            await self._socket.send_bytes(pcm[start : start + step])
            await asyncio.sleep(PIECE_S)

    async def until(self, kind: str) -> dict[str, Any]:
        """Take what comes, up to a frame or an event of this type; return it."""
        while True:
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                self.sound += message.data
                if kind == "sound" and len(self.sound) > SAMPLE_RATE:
                    return {}
                continue
            assert message.type is aiohttp.WSMsgType.TEXT, message
            self.frames.append(message.json())
            if kind in (_type(self.frames[-1]), self.frames[-1]["type"]):
                return self.frames[-1]

    async def turn(self) -> dict[str, Any]:
        """Return the next turn."""
        found: dict[str, Any] = (await self.until("message_added"))["event"]["data"]["message"]
        return found


def _type(frame: dict[str, Any]) -> str:
    data = frame.get("event", {}).get("data") or {}
    return str(data.get("type", ""))
