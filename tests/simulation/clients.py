"""Clients of a simulation: they write and read several conversations on any server, repeat what
was not answered under the same key elsewhere, and note what they learn.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress

from src.state.errors import (
    EventRefused,
    NotOwner,
    Overloaded,
    OwnershipLost,
    OwnershipUnknown,
    StateError,
)
from src.state.errors import Refused as RefusedByState
from src.state.models import ZERO, Ack, Durability, Read, Version
from tests.simulation.world import Life, Unreachable, World
from tests.support.cluster import Server
from tests.support.kinds import Break, Command, Notebook, Once, Refuse, Write
from tests.support.ledger import Acked, Posted, Refused, Seen, Unknown, Unseen

_SPEAKER = "ada"
_PATIENCE_S = 2.0
_ATTEMPTS = 25
_BURST = 0.6
_THINK_S = 1.2
_NOT_DONE = (NotOwner, OwnershipLost, OwnershipUnknown, Overloaded)
"""Answers that say that this attempt changed nothing."""


class Client:
    """One person with several conversations, shared with others.

    One that is `clumsy` often sends what no log can take, and writes to what nobody began.
    """

    def __init__(
        self, world: World, name: str, conversations: Sequence[str], *, clumsy: bool
    ) -> None:
        self._world, self._name, self._conversations = world, name, conversations
        self._unfit, self._uncreated = (0.15, 0.5) if clumsy else (0.02, 0.1)
        self._chance: random.Random = world.chance
        # Some are written all the time and some hardly ever: what is late there is not overtaken.
        self._weights = [1 / (place + 1) ** 2 for place in range(len(conversations))]
        self._at: Life | None = None
        self._highest: dict[str, Version] = {}
        self._written: list[str] = []
        self._numbers = 0
        self.operations = self.reads = self.acked = 0

    async def act(self, operations: int) -> None:
        """Do that many things, one after another."""
        for _ in range(operations):
            if self._chance.random() > _BURST:
                await asyncio.sleep(self._chance.expovariate(1 / _THINK_S))
            drawn = self._chance.random()
            if drawn < 0.05:
                # To several at once: a batch of many, of which one may not fit.
                several = self._chance.choices(self._conversations, k=3)
                await asyncio.gather(*(self._write(one) for one in several))
            elif drawn < 0.07:
                await self._change_nothing(self._chance.choice(self._conversations))
            elif drawn < 0.5:
                await self._write(self._chance.choices(self._conversations, self._weights)[0])
            else:
                conversation = self._chance.choice(self._conversations)
                # Of those who ask at once each has an order of its own.
                crowd = self._chance.choice(("", "", "", "123"))
                await asyncio.gather(*(self._read(conversation, one) for one in crowd or " "))
            self.operations += 1

    # -- writing ---------------------------------------------------------------------------------

    async def _write(self, conversation: str) -> None:
        chance = self._chance
        self._numbers += 1
        key = f"{self._name}{self._numbers}"
        command, lines = self._command(key)
        durability = Durability.BUFFERED if chance.random() < 0.2 else Durability.LOGGED
        if chance.random() < self._unfit:
            # No text column can hold it: the edge refuses such keys, the log must survive them.
            key, durability = f"{key}\x00", Durability.LOGGED
        if_version = None
        if chance.random() < 0.1:
            seen = self._highest.get(conversation, ZERO)
            if_version = Version(seen.epoch, seen.seq + chance.choice((0, 0, 1)))
        first = lines[0] if lines else ""
        self._world.write(
            Posted(conversation, key, _SPEAKER, first, self._world.loop.time(), max(1, len(lines)))
        )
        await self._submit(conversation, key, command, if_version, durability)
        self._written += lines

    async def _change_nothing(self, conversation: str) -> None:
        """Submit what makes no event: nobody is owed anything for it."""
        self._numbers += 1
        key = f"{self._name}{self._numbers}"
        durability = self._chance.choice((Durability.BUFFERED, Durability.LOGGED))

        async def submit(server: Server) -> Ack[Notebook]:
            return await server.notebooks.submit(
                conversation, Write(()), key=key, actor=_SPEAKER, durability=durability
            )

        life = await self._server()
        if life is not None:
            with suppress(StateError, Unreachable):
                await self._world.call(life, submit, _PATIENCE_S)

    def _command(self, key: str) -> tuple[Command, list[str]]:
        drawn = self._chance.random()
        if drawn < 0.04:
            return Refuse(), []
        if drawn < 0.06:
            return Break(), []
        if drawn < 0.12 and self._written:
            line = self._chance.choice(self._written)
            return Once(line), [line]
        if drawn < 0.2:
            lines = [f"{key}/{index}" for index in range(self._chance.randint(2, 3))]
            return Write(tuple(lines)), lines
        return Write((key,)), [key]

    async def _submit(
        self,
        conversation: str,
        key: str,
        command: Command,
        if_version: Version | None,
        durability: Durability,
    ) -> None:
        world, doubt = self._world, False

        create = self._chance.random() >= self._uncreated

        async def submit(server: Server) -> Ack[Notebook]:
            return await server.notebooks.submit(
                conversation,
                command,
                key=key,
                actor=_SPEAKER,
                if_version=if_version,
                durability=durability,
                create=create,
            )

        for attempt in range(1, _ATTEMPTS + 1):
            life = await self._server()
            if life is None:
                continue
            try:
                ack = await world.call(life, submit, _PATIENCE_S)
            except (RefusedByState, EventRefused, ZeroDivisionError) as error:
                if doubt:
                    world.write(Unknown(conversation, key, attempt))
                else:
                    world.write(Refused(conversation, key, type(error).__name__))
                return
            except (StateError, Unreachable) as error:
                doubt = doubt or not isinstance(error, _NOT_DONE)
                world.tell(f"{self._name} {key!r} at {life.name}: {error!r}")
                await self._back_off(error)
            else:
                self._learn(conversation, ack.version)
                self.acked += 1
                world.write(
                    Acked(
                        conversation,
                        key,
                        ack.version,
                        ack.repeated,
                        attempt,
                        world.loop.time(),
                        ack.durability,
                    )
                )
                return
        world.write(Unknown(conversation, key, _ATTEMPTS))

    async def _back_off(self, error: Exception) -> None:
        self._at = None
        if isinstance(error, NotOwner):
            self._at = self._world.find(error.server_id)
            if self._at is not None and self._chance.random() < 0.8:
                return
        await asyncio.sleep(self._chance.expovariate(1 / 0.5))

    # -- reading ---------------------------------------------------------------------------------

    async def _read(self, conversation: str, one: str) -> None:
        world, chance = self._world, self._chance
        life = await self._server()
        if life is None:
            return
        asked = self._highest.get(conversation) if chance.random() < 0.5 else None
        # Who sends no version is promised an order per server only.
        client = f"{self._name}{one}".strip()
        if asked is None:
            client += f"@{life.name}"
        began = world.loop.time()

        async def read(server: Server) -> Read[Notebook] | None:
            return await server.notebooks.read(conversation, at_least=asked)

        try:
            found = await world.call(life, read, _PATIENCE_S)
        except (StateError, Unreachable) as error:
            code = type(error).__name__
            world.write(Unseen(client, conversation, began, world.loop.time(), code))
            self._at = None
            return
        self.reads += 1
        if asked is None and found is not None and found.stale_s is not None:
            # Nor is there an order among answers that own up to their age.
            client += f" in read {self.reads}"
        world.write(_seen(client, conversation, found, began, world.loop.time(), asked))
        if found is not None:
            self._learn(conversation, found.entry.version)

    def _learn(self, conversation: str, version: Version) -> None:
        self._highest[conversation] = max(version, self._highest.get(conversation, ZERO))

    async def _server(self) -> Life | None:
        """Stay with a server for a while, or take any."""
        living = self._world.living()
        if not living:
            await asyncio.sleep(0.3)
            return None
        if self._at not in living or self._chance.random() < 0.3:
            self._at = self._chance.choice(living)
        return self._at


def _seen(
    client: str,
    conversation: str,
    found: Read[Notebook] | None,
    began: float,
    ended: float,
    asked: Version | None,
) -> Seen:
    if found is None:
        return Seen(client, conversation, ZERO, began, ended, None, asked, 0)
    entry = found.entry
    lines = entry.state.lines
    stale = None if found.stale_s is None else f"{found.stale_s:.1f}"
    turns = None if entry.ahead else len(lines)
    return Seen(client, conversation, entry.version, began, ended, stale, asked, turns)
