"""Lists that come page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TypeVar

from swarmstate_client.asks import Ask
from swarmstate_client.decoding import read
from swarmstate_client.errors import NotUnderstood
from swarmstate_client.transport import Transport

T = TypeVar("T")


async def pages(
    transport: Transport,
    ask: Ask,
    field: str,
    kind: type[T] | Callable[[object, str], T],
    *,
    next_in: str = "next_cursor",
    sent_as: str = "cursor",
    begin: object = None,
) -> AsyncIterator[T]:
    """Give what the pages of a list hold in `field`, asking for the next page when it is wanted.

    `next_in` is the field that says how to go on, None at the end, and is sent as `sent_as`;
    `begin` is what is sent first.
    """
    following = begin
    while True:
        place = () if following is None else ((sent_as, str(following)),)
        body = (await transport.send(replace(ask, query=(*ask.query, *place)))).body
        if not isinstance(body, dict) or not isinstance(body.get(field), list):
            raise NotUnderstood(f"{ask} was answered without {field}; is this swarmstate?")
        for number, one in enumerate(body[field]):
            where = f"{field}[{number}]"
            yield read(kind, one, where) if isinstance(kind, type) else kind(one, where)
        following = body.get(next_in)
        if following is None:
            return
