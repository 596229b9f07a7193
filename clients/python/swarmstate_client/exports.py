"""A conversation as JSON Lines, to its end, over as many connections as it takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from swarmstate_client.answers import Json
from swarmstate_client.asks import Ask, query
from swarmstate_client.decoding import parse
from swarmstate_client.errors import NotAnswered, NotUnderstood, SwarmstateError
from swarmstate_client.streams import lines
from swarmstate_client.transport import Transport, Tries


async def export(
    transport: Transport, path: str, thing: str, after: int
) -> AsyncGenerator[Json, None]:
    """Give the state, unless it is asked for what comes behind an event, then every event.

    Raises:
        ProblemError: it may not be read. NotAnswered: it is cut again and again.
    """
    tries = Tries(transport, Ask(method="GET", path=path))
    stated = after > 0
    while True:
        ask = Ask(method="GET", path=path, query=query(after=after or None), of=thing)
        try:
            async with transport.answer(ask, transport.streaming) as response:
                async for text in lines(response.content):
                    line = parse(text, "line of the export")
                    kind = line.get("line") if isinstance(line, dict) else None
                    if kind == "end":
                        return
                    if kind == "event":
                        tries.went_on()
                        after = int(line["seq"])
                        yield line
                    elif kind == "state" and not stated:
                        stated = True
                        yield line
                    elif kind is None:
                        raise NotUnderstood("a line of the export names no kind of line")
            raise NotAnswered(f"{ask}: the export was cut behind event {after}")
        except SwarmstateError as error:
            await tries.failed(error)
