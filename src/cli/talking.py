"""A room to talk in, for whoever runs `swarmstate dev`: made through the API, as anybody would."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlencode

import aiohttp
import msgspec

from src.demo.client import Client, Ledger
from src.demo.errors import NotAnswered

_MEET = "https://meet.livekit.io/custom"
"""LiveKit's own page for any server: it runs in the browser, which connects to ours."""
_REQUEST_S = 20.0
TEAM = "hello"
_ADA = {
    "id": "ada",
    "name": "Ada",
    "providers": {
        "llm": "offline/rules",
        "options": {"llm": {"default": "I heard you, {speaker}: {text}"}},
    },
}
_TEAM = {"id": TEAM, "name": "Hello", "members": [{"bot": "ada"}]}
PERSON = "you"


class Door(msgspec.Struct, frozen=True, gc=False):
    """The way into a room: LiveKit's address, and the token of one person."""

    url: str
    token: str

    @property
    def link(self) -> str:
        """Where a browser opens that room."""
        return f"{_MEET}?{urlencode({'liveKitUrl': self.url, 'token': self.token})}"


async def open_door(name: str, url: str, token: str) -> Door:
    """Make a room with one bot on a server, the same one each time; let a person in.

    Raises:
        NotAnswered, aiohttp.ClientError, TimeoutError: there is none; says why.
    """
    timeout = aiohttp.ClientTimeout(total=_REQUEST_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client = Client(session, name, url, token, Ledger())
        for path, body in (("/bots", _ADA), ("/teams", _TEAM)):
            # There since an earlier time, and perhaps edited: then it stays so.
            with suppress(NotAnswered):
                await client.request("POST", path, body)
        begun = await client.request(
            "POST",
            "/agent/voice/automatic",
            {"team": TEAM, "user": PERSON},
            {"Idempotency-Key": "swarmstate-dev"},
        )
    return Door(begun["room_url"], begun["token"])
