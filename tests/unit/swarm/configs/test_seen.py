"""Configs at hand: certain while every edit is heard of, last known when nobody can be asked."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from src.state.background import background
from src.state.configs import Record
from src.state.errors import Behind, DurableTierUnavailable, Undecodable
from src.state.models import ZERO, Entry, Read, Version, Where
from src.state.tiers.memory import Lease
from src.swarm.configs.seen import SeenConfigs
from src.swarm.configs.service import ConfigService
from src.swarm.configs.settings import VALUES
from src.swarm.configs.teams import decode_team
from tests.support.clock import BEGAN, VirtualClock, advance, settle, virtual_time

CREW = decode_team(b'{"name": "Crew"}')
UNKNOWN = (False, None)
NONE = (True, None)


class Lab:
    """One team in a database, and what a server has seen of it."""

    def __init__(self) -> None:
        self.version = 0
        self.deleted = False
        self.reads: list[tuple[str, Version | None]] = []
        self.error: Exception | None = None
        self.stale_s: float | None = None
        self.free = asyncio.Event()
        self.free.set()
        self.away = False
        self.told = Lease()
        self.told.until = float("inf")
        service = cast("ConfigService", self)
        self.seen = SeenConfigs(service, self.told, lambda: self.away, VirtualClock())

    async def read(
        self, kind: str, id: str, *, at_least: Version | None = None
    ) -> Read[Record[Any]] | None:
        """What `ConfigService.read` gives."""
        self.reads.append((id, at_least))
        version, deleted = self.version, self.deleted
        await self.free.wait()
        if self.error is not None:
            raise self.error
        if id != "crew" or version == 0:
            return None
        record = Record(kind, id, version, CREW, deleted, "ada", BEGAN)
        return Read(Entry(id, Version(0, version), record), Where.L3, self.stale_s)

    def edit(self, *, deleted: bool = False) -> None:
        """Commit the next version, and have the server hear of it."""
        self.version, self.deleted = self.version + 1, deleted
        self.seen.heard("team", "crew", Version(0, self.version))

    async def look(self) -> None:
        await self.seen.read("team", "crew")

    def certain(self) -> tuple[bool, int | None]:
        known, record = self.seen.certain("team", "crew")
        return known, None if record is None else record.version

    def last(self) -> tuple[bool, int | None]:
        known, record = self.seen.last("team", "crew")
        return known, None if record is None else record.version


@virtual_time
async def test_what_was_read_is_certain_until_an_edit_is_heard_of() -> None:
    lab = Lab()
    lab.edit()
    assert lab.certain() == UNKNOWN
    await lab.look()
    await advance(3600)
    assert lab.certain() == (True, 1)
    lab.edit()
    assert (lab.certain()[0], lab.last()) == (False, (True, 1))
    await lab.look()
    assert lab.certain() == (True, 2)


@virtual_time
async def test_that_there_is_none_is_certain_as_well_until_one_is_made() -> None:
    lab = Lab()
    await lab.look()
    await advance(3600)
    assert lab.certain() == NONE
    lab.edit()
    assert not lab.certain()[0]
    await lab.look()
    lab.edit(deleted=True)
    await lab.look()
    assert lab.certain() == NONE


@virtual_time
async def test_version_that_is_heard_of_again_changes_nothing() -> None:
    lab = Lab()
    lab.edit()
    await lab.look()
    for version in (Version(0, 1), ZERO):
        lab.seen.heard("team", "crew", version)
    assert lab.certain() == (True, 1)


@virtual_time
async def test_read_that_an_edit_overtook_makes_nothing_certain() -> None:
    lab = Lab()
    lab.edit()
    lab.free.clear()
    looking = asyncio.create_task(lab.look())
    await settle()
    lab.edit()
    lab.free.set()
    await looking
    assert (lab.certain()[0], lab.last()) == (False, (True, 1))
    await lab.look()
    assert lab.reads[-1] == ("crew", Version(0, 2)), "not older than what was heard of"
    assert lab.certain() == (True, 2)


@virtual_time
async def test_read_that_began_earlier_does_not_replace_a_later_one() -> None:
    lab = Lab()
    lab.free.clear()
    early = asyncio.create_task(lab.look())
    await settle()
    lab.free, first = asyncio.Event(), lab.free
    lab.free.set()
    await asyncio.sleep(1)
    lab.version = 1
    await lab.look()
    first.set()
    await early
    assert lab.last() == (True, 1)


@virtual_time
async def test_read_counts_for_a_moment_while_nobody_can_say_what_was_edited() -> None:
    lab = Lab()
    lab.told.until = float("-inf")
    lab.edit()
    await lab.look()
    await advance(0.4)
    assert lab.certain() == (True, 1)
    await advance(0.2)
    assert (lab.certain()[0], lab.last()) == (False, (True, 1))


@pytest.mark.parametrize(
    "error", [DurableTierUnavailable("no answer"), Behind("crew", "0.2", "0.1")], ids=repr
)
@virtual_time
async def test_what_cannot_be_read_is_as_it_was_last_and_an_error_if_it_never_was(
    error: Exception,
) -> None:
    lab = Lab()
    lab.version, lab.error = 1, error
    with pytest.raises(DurableTierUnavailable):
        await lab.seen.read_or_last("team", "crew")
    lab.error = None
    await lab.look()
    lab.error = error
    found = await lab.seen.read_or_last("team", "crew")
    assert found is not None
    assert found.version == 1
    with pytest.raises(DurableTierUnavailable):
        await lab.look()


@virtual_time
async def test_old_copy_is_the_last_known_and_no_answer() -> None:
    lab = Lab()
    lab.version, lab.stale_s = 1, 3.0
    with pytest.raises(DurableTierUnavailable):
        await lab.look()
    assert (lab.certain()[0], lab.last()) == (False, (True, 1))
    lab.version, lab.stale_s = 2, None
    await lab.look()
    assert lab.certain() == (True, 2)


@virtual_time
async def test_nobody_is_asked_while_postgresql_is_away_for_what_is_known() -> None:
    lab = Lab()
    lab.edit()
    await lab.look()
    lab.away = True
    await lab.look()
    assert len(lab.reads) == 1


@virtual_time
async def test_settings_are_read_at_the_start_and_what_is_known_whenever_it_is_edited() -> None:
    lab = Lab()
    lab.edit()
    async with background(lab.seen.run()):
        await settle()
        assert [id for id, _ in lab.reads] == list(VALUES)
        assert lab.seen.certain("setting", "limits") == NONE
        await lab.look()
        lab.edit()
        await settle()
        assert lab.certain() == (True, 2)


@virtual_time
async def test_edit_heard_of_while_postgresql_is_away_is_read_on_its_return() -> None:
    lab = Lab()
    async with background(lab.seen.run()):
        lab.edit()
        await lab.look()
        lab.away = True
        lab.edit()
        await advance(60)
        assert lab.last() == (True, 1)
        lab.away, lab.error = False, DurableTierUnavailable("not yet")
        await advance(5)
        lab.error = None
        await advance(5)
        assert lab.last() == (True, 2)


@virtual_time
async def test_config_that_can_never_be_read_keeps_nobody_from_the_others() -> None:
    lab = Lab()
    lab.error = Undecodable("limits", "of a newer release")
    async with background(lab.seen.run()):
        await settle()
        reads = len(lab.reads)
        await advance(60)
        assert len(lab.reads) == reads == len(VALUES)


@virtual_time
async def test_nothing_is_certain_on_another_branch_of_the_history() -> None:
    lab = Lab()
    async with background(lab.seen.run()):
        for _ in range(3):
            lab.edit()
        await lab.look()
        lab.version = 2
        lab.seen.branched()
        assert not lab.certain()[0]
        await settle()
        assert lab.certain() == (True, 2)


@virtual_time
async def test_what_was_seen_is_bounded() -> None:
    lab = Lab()
    await lab.look()
    bound = lab.seen.buffers()["seen_configs"]
    assert (bound.size, bound.bound) == (1, 4096)
