"""A client that replays meetings against servers that are being killed.

Every meeting is a conversation of its own with one client, who speaks for all its people: a turn
is posted when the pace says so and the turn before is acked. Whatever leaves the outcome open (a
connection that broke, no answer in time, 503) is posted again with the same key on another server.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import msgspec

from src.state.models import Durability, Version
from tests.support.ledger import Acked, Ledger, Posted, Unknown, digest
from tests.support.meetings import Meeting, Said

WORDS_PER_S = 150 * 50 / 60
"""A hundred and fifty words a minute, fifty times as fast."""

_ANSWER_WITHIN_S = 3.0
"""Who waits no longer than that finds out what becomes of a turn whose outcome is open."""
_ACKED_WITHIN_S = 90.0
_PAUSE_S = (0.01, 0.1)
_PATIENCE = 6
_AT_HOME = 0.7
"""Share of the turns that are not sent anywhere, but to the server that the client is used to."""


class Turn(msgspec.Struct, frozen=True, gc=False):
    """Names a turn that is on its way."""

    conversation: str
    key: str


class Refusal(Exception):
    """A server refused what it should have taken."""


class Replay:
    """The conversations under way, and what of them is in flight."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: Sequence[str],
        ledger: Ledger,
        seed: int,
        words_per_s: float = WORDS_PER_S,
    ) -> None:
        self.session = session
        self._words_per_s = words_per_s
        self._urls = urls
        self._ledger = ledger
        self._chance = random.Random(seed)
        self._all_at_once = asyncio.Event()
        self._homes: dict[str, str] = {}
        self.in_flight: dict[Turn, str] = {}
        """Turns posted and not acked, with the server whose answer they wait for."""
        self.acked = 0
        self.versions: dict[str, Version] = {}
        """The last acked one of each conversation; last in line is who was acked last."""

    def burst(self) -> None:
        """Have everybody who is still catching breath say the next turn now."""
        self._all_at_once.set()
        self._all_at_once = asyncio.Event()

    async def play(
        self, meeting: Meeting, conversation: str, *, until: Callable[[], bool] | None = None
    ) -> int:
        """Replay a meeting to its end, or to the turn after `until` came true; return the turns.

        Raises:
            Refusal: a server said no.
        """
        await self._open(meeting, conversation)
        due = asyncio.get_running_loop().time()
        for number, said in enumerate(meeting.turns):
            if until is not None and until():
                return number
            await self._catch_breath(due)
            due = max(due, asyncio.get_running_loop().time() - 1.0) + said.words / self._words_per_s
            await self._say(conversation, f"turn-{number + 1}", meeting.people, said)
        return len(meeting.turns)

    async def _open(self, meeting: Meeting, conversation: str) -> None:
        people = [{"id": id, "kind": "person", "name": name} for name, id in meeting.people.items()]
        body = {"id": conversation, "participants": people, "config": {"goal": meeting.name}}
        if await self._until_answered("", conversation, "open", body) is None:
            raise Refusal(f"{conversation} could not be opened")

    async def _catch_breath(self, due: float) -> None:
        left = due - asyncio.get_running_loop().time()
        if left > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._all_at_once.wait()

    async def _say(self, conversation: str, key: str, people: dict[str, str], said: Said) -> None:
        speaker = people[said.speaker]
        text = digest(said.text)
        self._ledger.write(Posted(conversation, key, speaker, text, time.monotonic()))
        turn = Turn(conversation, key)
        body = {"author": {"kind": "person", "id": speaker}, "text": said.text}
        path = f"/{conversation}/messages"
        answered = await self._until_answered(path, conversation, key, body, turn)
        if answered is None:
            self._ledger.write(Unknown(conversation, key, 0))
            raise Refusal(f"{conversation} {key}: no ack within {_ACKED_WITHIN_S:.0f} s")
        answer, attempts = answered
        version = Version.parse(answer["version"])
        self.versions.pop(conversation, None)
        self.versions[conversation] = version
        self._ledger.write(
            Acked(
                conversation,
                key,
                version,
                answer["repeated"],
                attempts,
                time.monotonic(),
                Durability(answer["durability"]),
            )
        )
        del self.in_flight[turn]
        self.acked += 1

    async def _until_answered(
        self,
        path: str,
        conversation: str,
        key: str,
        body: dict[str, Any],
        turn: Turn | None = None,
    ) -> tuple[dict[str, Any], int] | None:
        """Return the answer and the number of attempts; None at the deadline."""
        deadline = asyncio.get_running_loop().time() + _ACKED_WITHIN_S
        content = msgspec.json.encode(body)
        first = self._first(conversation)
        for attempt in itertools.count(first):
            url = self._urls[attempt % len(self._urls)]
            if turn is not None:
                self.in_flight[turn] = url
            answer = await self._attempt(f"{url}/api/v1/conversations{path}", key, content)
            if answer is not None:
                if attempt > first:
                    self._homes[conversation] = url
                return answer, attempt - first + 1
            if asyncio.get_running_loop().time() > deadline:
                break
            # Longer each time: a store that is away needs no help from a crowd that knocks.
            patience = min(attempt - first + 1, _PATIENCE)
            await asyncio.sleep(self._chance.uniform(*_PAUSE_S) * patience)
        return None

    def _first(self, conversation: str) -> int:
        """Choose the server to ask first: mostly the one that helped when another did not."""
        home = self._homes.setdefault(conversation, self._chance.choice(self._urls))
        if self._chance.random() < _AT_HOME:
            return self._urls.index(home)
        return self._chance.randrange(len(self._urls))

    async def _attempt(self, url: str, key: str, content: bytes) -> dict[str, Any] | None:
        try:
            async with self.session.post(
                url, data=content, headers={"Idempotency-Key": key}
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        if response.status == 503:
            return None
        if response.status != 201:
            raise Refusal(f"{url} {key}: {response.status} {answer[:500]!r}")
        taken: dict[str, Any] = msgspec.json.decode(answer)
        return taken


@asynccontextmanager
async def open_replay(
    urls: Sequence[str],
    token: str,
    ledger: Ledger,
    *,
    seed: int,
    words_per_s: float = WORDS_PER_S,
) -> AsyncIterator[Replay]:
    """Open a client's connections; close them at the end of the block."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S),
    ) as session:
        yield Replay(session, urls, ledger, seed, words_per_s)
