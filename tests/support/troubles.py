"""Trouble at moments drawn by a seed, and what was under way at each of them.

One moment is aimed at: an event is in the log and its ack has not left the server. The server is
frozen in a burst of turns, the log is read, and only if it has a turn whose client waits is the
frozen server killed; else it goes on and is frozen again. To the client and to the stores this is
the same as a kill at that moment.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from redis.asyncio import Redis

from src.demo.processes import ServerProcess
from src.state.models import Version
from tests.support.cluster_processes import Cluster
from tests.support.cluster_settings import eventually
from tests.support.history import Logged
from tests.support.ledger import Acked, Line
from tests.support.replay import Replay, Turn

CROWD = 50
"""Turns that must be in flight for a moment to count."""
_ARRIVALS_S = 0.03
"""Time for acks that had left the frozen server to reach the client."""
_TRIES = 200


class Kill(msgspec.Struct, frozen=True, gc=False):
    """What was under way when a server was killed."""

    server: str
    aimed: bool
    """At the moment between commit and ack, which was seen then."""
    in_flight: tuple[Turn, ...]
    epochs: Mapping[str, int]
    """What the killed server owned, and under which epoch."""
    served_again_s: float
    """Until all that was in flight was acked."""

    def unacked(self, log: Mapping[Turn, Version], acks: Mapping[Turn, Acked]) -> int:
        """Return how many turns the killed server had logged without their client learning of it.

        They are in the log under its epoch, and the ack came from a repetition.
        """
        return sum(
            log[turn].epoch == self.epochs.get(turn.conversation) and acks[turn].repeated
            for turn in self.in_flight
            if turn in log and turn in acks
        )


class Troubles:
    """What happens to the servers and to Redis, at moments of a seed's choice."""

    def __init__(self, cluster: Cluster, replay: Replay, seed: int) -> None:
        self._cluster = cluster
        self._replay = replay
        self._chance = random.Random(seed)
        self.kills: list[Kill] = []
        self.flushes: list[int] = []
        """Turns in flight at each FLUSHALL."""
        self.pauses: list[int] = []
        """The same at each SIGSTOP."""

    async def crowd(self) -> None:
        """Return at a drawn moment of a burst in which a crowd is in flight."""
        while True:
            await asyncio.sleep(self._chance.uniform(0.1, 0.5))
            self._replay.burst()
            await asyncio.sleep(self._chance.uniform(0.0, 0.05))
            if len(self._replay.in_flight) >= CROWD:
                return

    async def flush_redis(self) -> None:
        """Clear Redis at a drawn moment with a crowd in flight."""
        async with Redis.from_url(self._cluster.redis_url) as client:
            await self.crowd()
            self.flushes.append(len(self._replay.in_flight))
            await client.flushall()

    async def kill(self, *, aimed: bool) -> None:
        """Kill the server that owns the most, with a crowd in flight; return when all of that is
        acked and a fresh process is ready.
        """
        victim, epochs = await (self._freeze_between_commit_and_ack() if aimed else self._moment())
        in_flight = tuple(self._replay.in_flight)
        victim.kill()
        await victim.ended()
        restarted = asyncio.create_task(victim.start())
        try:
            again_s = await eventually(
                lambda: self._replay.in_flight.keys().isdisjoint(in_flight),
                60,
                what="the survivor takes what was in flight at a kill",
            )
        finally:
            await restarted
        self.kills.append(Kill(victim.name, aimed, in_flight, epochs, again_s))

    async def pause(self) -> None:
        """Stop the server that owns the most in its tracks until all that was in flight was acked
        elsewhere, then let it go on with what it had begun.
        """
        victim, _ = await self._moment()
        in_flight = tuple(self._replay.in_flight)
        victim.pause()
        try:
            await eventually(
                lambda: self._replay.in_flight.keys().isdisjoint(in_flight),
                60,
                what="the survivor takes what was in flight at a pause",
            )
        finally:
            victim.resume()
        self.pauses.append(len(in_flight))

    async def _moment(self) -> tuple[ServerProcess, Mapping[str, int]]:
        """Return at a drawn moment of a burst in which a crowd is in flight, with the server that
        owns the most then, and what it owns.
        """
        for _ in range(_TRIES):
            await self.crowd()
            victim = await self._cluster.busiest()
            if victim is None:
                continue
            epochs = await self._cluster.owned_by(victim)
            if len(self._replay.in_flight) >= CROWD:
                return victim, epochs
        raise AssertionError(f"no crowd in flight at a living owner in {_TRIES} tries")

    async def _freeze_between_commit_and_ack(self) -> tuple[ServerProcess, Mapping[str, int]]:
        for _ in range(_TRIES):
            victim, epochs = await self._moment()
            victim.pause()
            await asyncio.sleep(_ARRIVALS_S)
            if len(self._replay.in_flight) >= CROWD and await self._owes_an_ack(victim, epochs):
                return victim, epochs
            victim.resume()
        raise AssertionError(f"no moment between commit and ack in {_TRIES} tries")

    async def _owes_an_ack(self, frozen: ServerProcess, owned: Mapping[str, int]) -> bool:
        """Say whether the log has a turn, of what the server owns, for whose ack from this very
        server the client still waits: an ack on its way through another server may yet arrive.
        """
        waiting = [
            turn
            for turn, url in self._replay.in_flight.items()
            if url == frozen.url and turn.conversation in owned
        ]
        found: bool = await self._cluster.database.fetchval(
            "SELECT EXISTS (SELECT FROM events WHERE (conversation_id, event_id) IN "
            "(SELECT * FROM unnest($1::text[], $2::text[])))",
            [turn.conversation for turn in waiting],
            [f"{turn.key}:0" for turn in waiting],
        )
        return found


def histogram(
    kills: Sequence[Kill], log: Iterable[Logged], ledger: Iterable[Line]
) -> tuple[Sequence[int], str]:
    """Return per kill how many turns were logged and not acked, and a table of it for people."""
    places = {Turn(row.conversation, row.key): row.version for row in log}
    acks = {Turn(line.conversation, line.key): line for line in ledger if isinstance(line, Acked)}
    unacked = [kill.unacked(places, acks) for kill in kills]
    lines = ["kill  server  aimed  in flight  logged, not acked  all acked after"]
    for number, (kill, count) in enumerate(zip(kills, unacked, strict=True), start=1):
        lines.append(
            f"{number:4}  {kill.server:6}  {'yes' if kill.aimed else 'no':5}"
            f"  {len(kill.in_flight):9}  {count:17}  {kill.served_again_s:13.2f} s"
        )
    lines.append("logged, not acked -> kills")
    for count, times in sorted(Counter(unacked).items()):
        lines.append(f"{count:17} -> {'#' * times} {times}")
    return unacked, "\n".join(lines)
