"""A POST that is repeated with its Idempotency-Key is done once, outside conversations too.

Turns and commands have their key in the log. Everything else that is made by a POST goes through
`Once`: the first answer is kept for a day and given again to whoever sends the same request with
the same key; refusals are not kept, and may be tried again. Routes that are sent or
answer a secret must not use it: the answer, and a digest of the request, stand in the database.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import Annotated, cast

import structlog
from fastapi import Depends, Header, Request
from starlette.responses import Response

from src.api.auth.idempotency import key_of
from src.api.dependencies import KEY, Caller
from src.api.ids import id_of, new_id
from src.state.errors import TierUnavailable
from src.state.records.first_answers import FirstAnswer, FirstAnswers

log = structlog.get_logger(__name__)

_KEPT_HEADERS = ("content-type", "etag", "location", "x-swarm-version")


class Repeatable:
    """Gives the first answer again, or makes it. Without a key it only makes it."""

    def __init__(self, kept: FirstAnswers, key: str | None, fingerprint: bytes) -> None:
        self._kept = kept
        self._key = key
        self._fingerprint = fingerprint

    def new_id(self) -> str:
        """Return an id for what is made; the same for a repeated request.

        A server may die after the work and before its answer is kept: then the work is tried
        again, and finds by this id that it was done.
        """
        return new_id() if self._key is None else id_of(self._fingerprint.hex(), self._key)

    async def __call__(self, make: Callable[[], Awaitable[Response]]) -> Response:
        """Return the answer.

        Raises:
            KeyReused: the key came with another request.
            KeyInUse: the first request is still being answered.
        """
        key, fingerprint = self._key, self._fingerprint
        if key is None:
            return await make()
        first = await self._kept.claim(key, fingerprint)
        if first is not None:
            repeated = {"Idempotency-Replayed": "true"}
            return Response(first.body, first.status, dict(first.headers) | repeated)
        try:
            response = await make()
        except Exception:
            with suppress(TierUnavailable):
                # Else the claim is free in a minute.
                await self._kept.release(key, fingerprint)
            raise
        answer = FirstAnswer(
            response.status_code,
            tuple(
                (name, response.headers[name]) for name in _KEPT_HEADERS if name in response.headers
            ),
            bytes(response.body),
        )
        try:
            await self._kept.keep(key, fingerprint, answer)
        except TierUnavailable:
            # It was done, and this caller may know; one who repeats it later is told so otherwise.
            log.warning("first_answer.not_kept")
        return response


async def _once(
    request: Request,
    caller: Caller,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=KEY,
            description="Repeat a request with the same key and it is done once: within a day the "
            "first answer is given again, with `Idempotency-Replayed: true`",
        ),
    ] = None,
) -> Repeatable:
    kept = cast("FirstAnswers", request.state.first_answers)
    key = None if idempotency_key is None else key_of(caller, idempotency_key)
    what = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    fingerprint = sha256(what + await request.body()).digest() if key is not None else b""
    return Repeatable(kept, key, fingerprint)


Once = Annotated[Repeatable, Depends(_once)]
