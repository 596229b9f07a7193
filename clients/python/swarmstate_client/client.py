"""The client: one method per thing to do, and one trip that all of them take."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Self

import aiohttp

from swarmstate_client.errors import NotAnswered, SwarmstateError, Unavailable, problem

Json = dict[str, Any]
Token = str | Callable[[], Awaitable[str]]

_AGAIN = frozenset((429, 503))
_REMEMBERED = 10_000
"""Conversations whose last version is kept."""
_LONGEST_WAIT_S = 30.0


class Client:
    """Speaks with any of several servers; open it with `async with`.

    `urls` are tried in turn: the one that answered last is asked first. `token` is sent as it is,
    or made for each request. `attempts` counts the first try too; `timeout_s` is for each of them.
    """

    def __init__(
        self,
        urls: Sequence[str] | str,
        token: Token,
        *,
        attempts: int = 6,
        timeout_s: float = 20.0,
        pause_s: float = 0.1,
    ) -> None:
        given = [urls] if isinstance(urls, str) else urls
        if not given:
            raise ValueError("urls is empty; name one server at least")
        self._urls = [url.rstrip("/") for url in given]
        self._at = 0
        self._token = token
        self._attempts = attempts
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._pause_s = pause_s
        self._versions: OrderedDict[str, str] = OrderedDict()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- conversations ---------------------------------------------------------------------------

    async def begin(self, id: str | None = None, **fields: Any) -> Json:
        """Begin a conversation: `config`, `participants`, `team`, ... as in the API."""
        body = fields if id is None else {"id": id, **fields}
        made = await self.call("POST", "/conversations", body, of=id)
        self._saw(made["id"], made["version"])
        return made

    async def conversation(self, id: str) -> Json:
        """Return the whole state, not older than what this client has seen."""
        return await self.call("GET", f"/conversations/{id}", of=id)

    async def delete(self, id: str) -> None:
        """Delete a conversation for good."""
        await self.call("DELETE", f"/conversations/{id}", of=id)

    async def say(self, id: str, text: str, **fields: Any) -> Json:
        """Add a message; without `author` it is the token's bearer who says it."""
        return await self.call(
            "POST", f"/conversations/{id}/messages", {"text": text, **fields}, of=id
        )

    async def save_turn(self, id: str, user: str, assistant: str, **fields: Any) -> Json:
        """Add what a user said and what the assistant answered, both or neither."""
        turn = {"conversation_id": id, "user_message": user, "assistant_message": assistant}
        return await self.call("POST", "/conversations/save-turn", {**turn, **fields}, of=id)

    async def command(
        self, id: str, type: str, *, if_match: str | None = None, **fields: Any
    ) -> Json:
        """Submit any command: `blackboard`, `pass_baton`, `lifecycle`, ..."""
        path, body = f"/conversations/{id}/commands", {"type": type, **fields}
        return await self.call("POST", path, body, of=id, if_match=if_match)

    def messages(self, id: str, *, page: int = 50) -> AsyncIterator[Json]:
        """Give all messages, newest first."""
        return self.pages(f"/conversations/{id}/messages", "messages", page=page, of=id)

    async def stream(self, id: str, *, after: int | None = None) -> AsyncIterator[Json]:
        """Give events as they are logged, each once and in order, for as long as you listen.

        Goes on behind the last event seen when a server goes away. `after`: behind this sequence
        number; without it, from now on.

        Raises:
            ProblemError: the token has ended, or is no member's any more.
        """
        failures = 0
        if after is None:
            after = int((await self.conversation(id))["version"]["seq"])
        while True:
            try:
                async for seq, event in self._events(f"/conversations/{id}/stream", after):
                    failures, after = 0, seq
                    yield event
            except (aiohttp.ClientError, TimeoutError, Unavailable) as error:
                failures += 1
                if failures >= self._attempts:
                    raise NotAnswered(f"the stream of {id} broke {failures} times") from error
            self._next()
            await self._wait(failures, None)

    # --- configs ---------------------------------------------------------------------------------

    async def create(self, kind: str, body: Mapping[str, Any]) -> Json:
        """Create a config; `kind` is `bots`, `teams`, `routines`, `subtopics` or `settings`."""
        return await self.call("POST", f"/{kind}", body)

    async def config(self, kind: str, id: str) -> Json:
        """Return the present version."""
        return await self.call("GET", f"/{kind}/{id}")

    async def patch(
        self, kind: str, id: str, change: Mapping[str, Any], *, version: int | None = None
    ) -> Json:
        """Apply a merge patch; with `version`, only to that one (else PreconditionFailed)."""
        if_match = None if version is None else f'"{version}"'
        return await self.call("PATCH", f"/{kind}/{id}", change, if_match=if_match)

    def configs(self, kind: str, *, page: int = 50) -> AsyncIterator[Json]:
        """Give all configs of a kind, in order of id."""
        return self.pages(f"/{kind}", kind, page=page)

    # --- the trip --------------------------------------------------------------------------------

    async def pages(
        self, path: str, field: str, *, page: int, of: str | None = None
    ) -> AsyncIterator[Json]:
        """Give what the pages of a list hold in `field`."""
        cursor: str | None = None
        while True:
            query = f"?limit={page}" + (f"&cursor={cursor}" if cursor else "")
            found = await self.call("GET", path + query, of=of)
            for one in found[field]:
                yield one
            cursor = found.get("next_cursor")
            if cursor is None:
                return

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        of: str | None = None,
        if_match: str | None = None,
    ) -> Json:
        """Send one request until a server decides it; {} for an answer without a body.

        `path` is below /api/v1, `of` the conversation whose last seen version goes along.

        Raises:
            ProblemError: the answer is no. NotAnswered: there was none.
        """
        headers = {} if method == "GET" else {"Idempotency-Key": uuid.uuid4().hex}
        if of is not None and of in self._versions:
            headers["X-Swarm-Version"] = self._versions[of]
        if if_match is not None:
            headers["If-Match"] = if_match
        for attempt in range(1, self._attempts + 1):
            try:
                return await self._try(method, path, body, headers, of)
            except (aiohttp.ClientError, TimeoutError) as error:
                failure: SwarmstateError = NotAnswered(f"{method} {path}: {error!r}")
                failure.__cause__ = error
                after_s = None
            except _Later as error:
                failure, after_s = error.problem, error.after_s
            if attempt < self._attempts:
                self._next()
                await self._wait(attempt, after_s)
        raise failure

    async def _try(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        of: str | None,
    ) -> Json:
        async with self._opened.request(
            method,
            f"{self._urls[self._at]}/api/v1{path}",
            json=body,
            headers={**headers, **await self._bearer()},
            timeout=self._timeout,
        ) as answer:
            await _check(answer)
            if of is not None:
                self._saw(of, answer.headers.get("X-Swarm-Version"))
            return await answer.json() if answer.status != 204 else {}

    async def _events(self, path: str, after: int) -> AsyncIterator[tuple[int, Json]]:
        headers = {"Last-Event-ID": str(after), **await self._bearer()}
        # Servers send a comment now and then: silence means that the connection is dead.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=90)
        url = f"{self._urls[self._at]}/api/v1{path}"
        async with self._opened.get(url, headers=headers, timeout=timeout) as answer:
            try:
                await _check(answer)
            except _Later as error:
                raise error.problem from None
            seq: int | None = None
            data = ""
            async for raw in answer.content:
                name, _, value = raw.decode().rstrip("\r\n").partition(": ")
                if name == "id":
                    seq = int(value)
                elif name == "data":
                    data += value
                elif not name:
                    # What has no id is only pending: it comes again when it is logged.
                    if data and seq is not None:
                        yield seq, json.loads(data)
                    seq, data = None, ""

    @property
    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise SwarmstateError("the client is not open; use it in `async with`")
        return self._session

    async def _bearer(self) -> dict[str, str]:
        token = self._token if isinstance(self._token, str) else await self._token()
        return {"Authorization": f"Bearer {token}"}

    def _next(self) -> None:
        self._at = (self._at + 1) % len(self._urls)

    async def _wait(self, attempt: int, after_s: float | None) -> None:
        longest = min(self._pause_s * 2**attempt, _LONGEST_WAIT_S)
        pause = random.uniform(0, longest)  # Spreads callers, guards nothing.
        await asyncio.sleep(pause if after_s is None else min(after_s, _LONGEST_WAIT_S) + pause)

    def _saw(self, id: str, version: str | None) -> None:
        if version is None or _place(version) < _place(self._versions.get(id, "0.0")):
            return
        self._versions[id] = version
        self._versions.move_to_end(id)
        if len(self._versions) > _REMEMBERED:
            self._versions.popitem(last=False)


class _Later(Exception):
    """A server asks to come again; its answer is the error if none other comes."""

    def __init__(self, problem: SwarmstateError, after_s: float | None) -> None:
        self.problem, self.after_s = problem, after_s


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status < 400:
        return
    try:
        body = await answer.json(content_type=None)
    except ValueError:
        body = None
    error = problem(answer.status, body if isinstance(body, dict) else {})
    if answer.status not in _AGAIN:
        raise error
    given = answer.headers.get("Retry-After", "")
    raise _Later(error, float(given) if given.isdecimal() else None)


def _place(version: str) -> tuple[int, int]:
    epoch, _, seq = version.partition(".")
    return int(epoch), int(seq)
