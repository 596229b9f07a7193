"""Trouble at moments drawn by a seed, and what was under way at each of them.

One moment is aimed at: an event is in the log and its ack has not left the server. The server is
frozen in a burst of turns, the log is read, and only if it has a turn whose client waits is the
frozen server killed; else it goes on and is frozen again. To the client and to the stores this is
the same as a kill at that moment.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
from redis.asyncio import Redis

from src.demo.processes import ServerProcess
from src.embedded import Servers
from src.state.models import Version
from src.state.tiers.keys import body_key, from_sortable
from src.swarm.rules.conversations import CONVERSATIONS
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
_AGAIN_WITHIN_S = 60.0
_MARK = "in-the-dump-alone"

Pair = tuple[Literal["owner", "redis", "postgres"], Literal["owner", "redis", "postgres"]]


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


class Step(StrEnum):
    """Where something that an owner had under way stood when it was struck."""

    QUEUED = "owner: turn posted, not in the log"
    LOGGED = "owner: turn in the log, not announced"
    ANNOUNCED = "owner: turn announced, not acked"
    DIRTY = "owner: conversation logged beyond its snapshot"
    HALF_FLUSHED = "owner: snapshot in PostgreSQL, not in Redis"
    TAKEN = "owner: taken over, nothing appended yet"
    IDLE = "owner: no turn under way"
    UNHEARD = "Redis: turn in the log, not acked"


class Troubles:
    """What happens to the servers and to their stores, at moments of a seed's choice."""

    def __init__(
        self, cluster: Cluster, replay: Replay, seed: int, stores: Servers | None = None
    ) -> None:
        self._cluster = cluster
        self._replay = replay
        self._chance = random.Random(seed)
        self._stores = stores
        self.kills: list[Kill] = []
        self.struck: dict[str, list[int]] = defaultdict(list)
        """Turns in flight at each fault, by its kind."""
        self.again_s: dict[str, list[float]] = defaultdict(list)
        """Until all of them were acked."""
        self.steps: Counter[Step] = Counter()
        """Faults that struck something at this step."""

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
            async with self.strikes("flushall"):
                await client.flushall()

    async def kill(self, *, aimed: bool) -> None:
        """Kill the server that owns the most, with a crowd in flight; return when all of that is
        acked and a fresh process is ready.
        """
        victim, epochs = await (self._freeze_between_commit_and_ack() if aimed else self._moment())
        in_flight = tuple(self._replay.in_flight)
        async with AsyncExitStack() as births, self.strikes("kill_owner"):
            await self._dies(victim)
            await self._look(epochs)
            await births.enter_async_context(self._reborn(victim))
        self.kills.append(
            Kill(victim.name, aimed, in_flight, epochs, self.again_s["kill_owner"][-1])
        )

    async def kill_redis(self) -> None:
        """Kill Redis with a crowd in flight, bring it back empty."""
        await self.crowd()
        async with self.strikes("kill_redis"):
            await self._redis_dies()
            await self._listen_for_the_unheard()
            await self._redis_returns()

    async def kill_postgres(self) -> None:
        """Kill PostgreSQL with a crowd in flight, have it recover."""
        await self.crowd()
        async with self.strikes("kill_postgres"):
            await self._postgres_dies()
            await self._postgres_returns()

    async def kill_two(self, pair: Pair) -> None:
        """Kill two of owner, Redis and PostgreSQL at once, then bring both back."""
        victim, epochs = await self._moment()
        deaths: dict[str, Callable[[], Awaitable[None]]] = {
            "owner": partial(self._dies, victim),
            "redis": self._redis_dies,
            "postgres": self._postgres_dies,
        }
        returns = {"redis": self._redis_returns, "postgres": self._postgres_returns}
        async with AsyncExitStack() as births, self.strikes("double"):
            await asyncio.gather(*(deaths[one]() for one in pair))
            if "postgres" not in pair:
                await self._look(epochs, redis=False)
            await asyncio.gather(*(returns[one]() for one in pair if one in returns))
            if "owner" in pair:
                # Last: a server does not start without its database.
                await births.enter_async_context(self._reborn(victim))

    async def return_to_old_dump(self) -> None:
        """Have Redis write a dump; later kill it and bring it back with what it had then."""
        dump = await self._dump()
        try:
            before = self._replay.acked
            await eventually(lambda: self._replay.acked >= before + CROWD, 60, what="turns go on")
            await self.crowd()
            async with self.strikes("old_dump"):
                await self._redis_dies()
                await self._redis_returns()
                async with Redis.from_url(self._cluster.redis_url) as client:
                    assert await client.delete(_MARK), "Redis came back with its old dump"
        finally:
            dump.unlink(missing_ok=True)

    async def pause(self) -> None:
        """Stop the server that owns the most in its tracks until all that was in flight was acked
        elsewhere, then let it go on with what it had begun.
        """
        victim, epochs = await self._moment()
        victim.pause()
        try:
            async with self.strikes("sigstop"):
                await self._look(epochs)
            # Nothing in flight may have been its own: the pause has to outlast its deadline too.
            await eventually(partial(self._cluster.given_up, victim), what="a pause is noticed")
        finally:
            victim.resume()

    # -- the moment ------------------------------------------------------------------------------

    @asynccontextmanager
    async def strikes(self, kind: str) -> AsyncIterator[None]:
        """Strike within the block; wait at its end until all that was in flight is acked."""
        in_flight, began = tuple(self._replay.in_flight), time.monotonic()
        self.struck[kind].append(len(in_flight))
        yield
        await eventually(
            lambda: self._replay.in_flight.keys().isdisjoint(in_flight),
            _AGAIN_WITHIN_S,
            what=f"what was in flight at {kind} is acked",
        )
        self.again_s[kind].append(time.monotonic() - began)

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
        Behind nginx nobody knows by which server it comes.
        """
        others = set(self._cluster.urls) - {frozen.url}
        waiting = [
            turn
            for turn, url in self._replay.in_flight.items()
            if url not in others and turn.conversation in owned
        ]
        return bool(await self._logged(waiting))

    # -- deaths and returns ----------------------------------------------------------------------

    async def _dies(self, victim: ServerProcess) -> None:
        victim.kill()
        await victim.ended()

    @asynccontextmanager
    async def _reborn(self, victim: ServerProcess) -> AsyncIterator[None]:
        """Start a fresh process in a dead one's place beside the block."""
        birth = asyncio.create_task(victim.start())
        try:
            yield
        finally:
            await birth

    async def _redis_dies(self) -> None:
        await asyncio.to_thread(self._given.kill_redis)

    async def _redis_returns(self) -> None:
        # Away for a moment at least: otherwise nobody would have missed it.
        await asyncio.sleep(self._chance.uniform(0.0, 1.0))
        await asyncio.to_thread(self._given.start_redis)

    async def _postgres_dies(self) -> None:
        await asyncio.to_thread(self._given.kill_postgres)

    async def _postgres_returns(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, 1.0))
        await asyncio.to_thread(self._given.start_postgres)
        await self._cluster.reconnect()

    async def _dump(self) -> Path:
        async with Redis.from_url(self._cluster.redis_url) as client:
            await client.set(_MARK, "")
            await client.save()
            await client.delete(_MARK)
            told = await client.config_get("dir", "dbfilename")
            return Path(str(told["dir"]), str(told["dbfilename"]))

    @property
    def _given(self) -> Servers:
        assert self._stores is not None, "stores that may be killed are given to `open_stage`"
        return self._stores

    # -- a look from outside ---------------------------------------------------------------------

    async def _listen_for_the_unheard(self) -> None:
        await asyncio.sleep(_ARRIVALS_S)
        if await self._logged(tuple(self._replay.in_flight)):
            self.steps[Step.UNHEARD] += 1

    async def _look(self, owned: Mapping[str, int], *, redis: bool = True) -> None:
        """Note at which steps the struck server was with what it owned: nothing of it moves until
        another takes it over.
        """
        await asyncio.sleep(_ARRIVALS_S)
        waiting = [turn for turn in self._replay.in_flight if turn.conversation in owned]
        logged = await self._logged(waiting)
        rows = await self._cluster.database.fetch(_POSITIONS, list(owned))
        found = set()
        if len(logged) < len(waiting):
            found.add(Step.QUEUED)
        for _, seq, flushed, appended, epoch in rows:
            if flushed is None or flushed < seq:
                found.add(Step.DIRTY)
            if appended is not None and appended < epoch:
                found.add(Step.TAKEN)
        if redis:
            found |= await self._look_at_redis(logged, {row[0]: row[2] for row in rows})
        elif logged:
            found.add(Step.UNHEARD)
        self.steps.update(found if waiting else {*found, Step.IDLE})

    async def _look_at_redis(
        self, logged: Mapping[Turn, int], flushed: Mapping[str, int | None]
    ) -> set[Step]:
        ids = sorted({turn.conversation for turn in logged} | flushed.keys())
        async with Redis.from_url(self._cluster.redis_url) as client:
            pipeline = client.pipeline(transaction=False)
            for id in ids:
                pipeline.hmget(body_key(CONVERSATIONS.name, id), ["head", "v"])
            answers = await pipeline.execute()
        heads = {id: tuple(map(_seq, answer)) for id, answer in zip(ids, answers, strict=True)}
        found = {
            Step.ANNOUNCED if heads[turn.conversation][0] >= seq else Step.LOGGED
            for turn, seq in logged.items()
        }
        if any(0 < heads[id][1] < (seq or 0) for id, seq in flushed.items()):
            found.add(Step.HALF_FLUSHED)
        return found

    async def _logged(self, turns: Sequence[Turn]) -> dict[Turn, int]:
        """Return those of the turns that are in the log, with their seq."""
        rows = await self._cluster.database.fetch(
            "SELECT conversation_id, event_id, seq FROM events WHERE (conversation_id, event_id) "
            "IN (SELECT * FROM unnest($1::text[], $2::text[]))",
            [turn.conversation for turn in turns],
            [f"{turn.key}:0" for turn in turns],
        )
        return {Turn(row[0], row[1].removesuffix(":0")): row[2] for row in rows}


_POSITIONS = """
SELECT c.id, c.seq, s.seq, (SELECT epoch FROM events e WHERE e.conversation_id = c.id
    AND e.seq = c.seq), c.epoch
FROM conversations c LEFT JOIN snapshots s ON s.conversation_id = c.id WHERE c.id = ANY($1)
"""


def _seq(sortable: bytes | None) -> int:
    return 0 if sortable is None else from_sortable(sortable).seq


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
