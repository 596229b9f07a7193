"""The trip that every request takes: to one server after the other, until one decides it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp

from swarmstate_client.asks import Answer, Ask
from swarmstate_client.credentials import Credentials
from swarmstate_client.decoding import parse
from swarmstate_client.errors import (
    NotAnswered,
    NotFound,
    NotUnderstood,
    ProblemError,
    SwarmstateError,
    Unauthorized,
    problem,
)
from swarmstate_client.patience import Patience
from swarmstate_client.versions import Versions

Response = aiohttp.ClientResponse

_READS = frozenset(("GET", "HEAD"))


class Transport:
    """Holds the connections. `urls` are tried in turn, the one that answered last is first."""

    def __init__(
        self, urls: Sequence[str], credentials: Credentials, patience: Patience, connections: int
    ) -> None:
        if not urls:
            raise ValueError("urls is empty; name one server at least")
        self.patience = patience
        self.versions = Versions()
        self.credentials = credentials
        self._urls = [url.rstrip("/") for url in urls]
        self._at = 0
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._whole = aiohttp.ClientTimeout(
            total=patience.timeout_s, sock_connect=patience.connect_s
        )
        self.streaming = aiohttp.ClientTimeout(
            total=None,
            connect=patience.timeout_s,
            sock_connect=patience.connect_s,
            sock_read=patience.silence_s,
        )
        """The time-outs of an answer that may take any time as long as something comes."""

    async def open(self) -> None:
        """Make room for connections; none is made yet."""
        connector = aiohttp.TCPConnector(limit=self._connections)
        counting = aiohttp.TraceConfig()
        counting.on_request_headers_sent.append(_count)
        self._session = aiohttp.ClientSession(connector=connector, trace_configs=[counting])

    async def close(self) -> None:
        """Close all connections; what still waits for an answer fails."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, ask: Ask) -> Answer:
        """Send until a server decides it.

        Raises:
            ProblemError: the answer is no. NotAnswered: there was none.
        """
        tries = Tries(self, ask)
        while True:
            try:
                return await self.try_once(ask)
            except NotFound as error:
                if ask.method != "DELETE" or not (tries.unsure or error.unsure):
                    raise
                return Answer({}, None)
            except SwarmstateError as error:
                await tries.failed(error)

    async def try_once(self, ask: Ask) -> Answer:
        """Send once to one server."""
        async with self.answer(ask, self._whole) as response:
            return Answer(response.headers, await _json(response, ask))

    @asynccontextmanager
    async def answer(
        self,
        ask: Ask,
        bounds: aiohttp.ClientTimeout,
        within: AbstractAsyncContextManager[object] | None = None,
    ) -> AsyncIterator[Response]:
        """Give the good answer of one try, to be read within the block.

        `within`: entered around the try, to bound what aiohttp's own time-outs do not.

        Raises:
            ProblemError: the answer is no. NotAnswered: there was none, or it broke off.
        """
        url = self._urls[self._at]
        headers = dict(ask.headers)
        if ask.of is not None and (version := self.versions.last(ask.of)) is not None:
            headers["X-Swarm-Version"] = version
        token = None if ask.public else await self.credentials.token(self.try_once)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        sent = _Sent()
        try:
            async with (
                within or nullcontext(),
                self._opened.request(
                    ask.method,
                    url + ask.path,
                    params=ask.query,
                    json=ask.body,
                    data=None if ask.parts is None else ask.parts(),
                    headers=headers,
                    timeout=bounds,
                    trace_request_ctx=sent,
                    allow_redirects=False,  # A token is for the servers that were named.
                ) as response,
            ):
                await _check(response)
                self._learn(ask, response)
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            self._pass_over(url)
            key = ask.headers.get("Idempotency-Key")
            raise NotAnswered(
                f"{ask} at {url}: {error!r}", key=key, sure=sent.times == 0
            ) from error
        except ProblemError as error:
            error.unsure = sent.times > 1
            if error.passing:
                self._pass_over(url)
            if isinstance(error, Unauthorized) and token is not None:
                error.passing = self.credentials.refused(token)
            raise

    @property
    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise SwarmstateError("the client is not open; use it in `async with`")
        return self._session

    def _learn(self, ask: Ask, response: Response) -> None:
        version = response.headers.get("X-Swarm-Version")
        if ask.of is not None and version is not None:
            self.versions.saw(ask.of, version)

    def _pass_over(self, url: str) -> None:
        """Ask another server next, unless somebody who failed at the same one has said so."""
        if self._urls[self._at] == url:
            self._at = (self._at + 1) % len(self._urls)


class Tries:
    """How often a request failed in a row, and whether to try again."""

    def __init__(self, transport: Transport, ask: Ask) -> None:
        self._patience = transport.patience
        self._ask = ask
        self._failures = 0
        self._renewed = False
        self.unsure = False
        """An earlier try may have been done."""

    def went_on(self) -> None:
        """Count from the beginning: something came."""
        self._failures = 0
        self._renewed = False

    async def failed(self, error: SwarmstateError) -> None:
        """Wait until the next try is due, or raise the error for good."""
        self._failures += 1
        if not self._once_more(error):
            raise self._final(error)
        self.unsure = self.unsure or not error.sure
        if isinstance(error, Unauthorized):
            self._renewed = True
            return
        asked_s = error.retry_after_s if isinstance(error, ProblemError) else None
        await asyncio.sleep(self._patience.pause(self._failures, asked_s))

    def _once_more(self, error: SwarmstateError) -> bool:
        if not error.passing or self._failures >= self._patience.attempts:
            return False
        if isinstance(error, Unauthorized) and self._renewed:
            return False
        return self._ask.repeatable or error.sure

    def _final(self, error: SwarmstateError) -> SwarmstateError:
        if isinstance(error, ProblemError):
            error.unsure = (error.unsure or self.unsure) and self._ask.method not in _READS
        return error


@dataclass(slots=True)
class _Sent:
    """How often a try was sent: aiohttp repeats GET, HEAD, PUT and DELETE once by itself."""

    times: int = 0


async def _count(session: object, context: SimpleNamespace, params: object) -> None:
    context.trace_request_ctx.times += 1


async def _check(response: Response) -> None:
    if response.status < 300:
        return
    text = await response.read()
    try:
        body = parse(text, "problem")
    except NotUnderstood:
        # A proxy's own page.
        body = None
    given = response.headers.get("Retry-After", "")
    raise problem(
        response.status,
        body if isinstance(body, dict) else {"detail": f"an answer of {response.reason}"},
        retry_after_s=float(given) if given.isdecimal() else None,
    )


async def _json(response: Response, ask: Ask) -> Any:
    text = await response.read()
    return parse(text, f"the answer to {ask}") if text else None
