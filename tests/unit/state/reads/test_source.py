"""Folding the log onto what is there: the state is always the history's."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.state.models import Event, Version
from src.state.protocols import PAGE, Snapshot
from src.state.reads.source import LogSource
from src.state.tiers.memory_database import Head, MemoryDatabase
from src.state.tiers.memory_log import MemoryLog
from tests.support.clock import virtual_time
from tests.support.kinds import NOTEBOOKS, Notebook, claim, notebook, of_schema


async def history(*lines: str, epoch: int = 5) -> MemoryDatabase:
    database = MemoryDatabase()
    database.heads["conversations"]["n"] = Head("me", epoch)
    if lines:
        await MemoryLog(NOTEBOOKS, database).append("me", [claim("n", epoch, 0, *lines)])
    return database


def source(database: MemoryDatabase, kind: Any = NOTEBOOKS) -> LogSource[Notebook]:
    return LogSource(kind, MemoryLog(kind, database))


def snapshot(database: MemoryDatabase, version: Version, body: bytes, schema: int = 2) -> None:
    database.snapshots["snapshots"]["n"] = Snapshot("n", version, schema, body)


@virtual_time
async def test_nothing_logged_is_none() -> None:
    loaded = await source(await history()).load_with_tail("n")
    assert (loaded.entry, loaded.unsnapshotted, loaded.last_at) == (None, 0, None)


@virtual_time
async def test_state_is_the_fold_of_the_log() -> None:
    loaded = await source(await history("one", "two")).load_with_tail("n")
    assert loaded.entry == notebook("n", Version(5, 2), "one", "two")
    assert loaded.unsnapshotted == 2


@virtual_time
async def test_snapshot_is_completed_by_the_tail() -> None:
    database = await history("one", "two", "three")
    snapshot(database, Version(5, 2), b'{"lines":["one","two"]}')
    loaded = await source(database).load_with_tail("n")
    assert loaded.entry == notebook("n", Version(5, 3), "one", "two", "three")
    assert loaded.unsnapshotted == 1


@virtual_time
async def test_snapshot_at_the_end_of_the_log_is_the_answer() -> None:
    database = await history("one", "two")
    snapshot(database, Version(5, 2), b'{"lines":["one","two"]}')
    loaded = await source(database).load_with_tail("n")
    assert loaded.entry is not None
    assert (loaded.entry.state.lines, loaded.unsnapshotted) == (("one", "two"), 0)
    assert loaded.last_at is not None


@pytest.mark.parametrize("lost", [Version(4, 2), Version(5, 9), Version(6, 2)])
@virtual_time
async def test_snapshot_of_a_lost_branch_is_thrown_away(lost: Version) -> None:
    database = await history("one", "two")
    snapshot(database, lost, b'{"lines":["another history"]}')
    loaded = await source(database).load_with_tail("n")
    assert loaded.entry == notebook("n", Version(5, 2), "one", "two")


@virtual_time
async def test_snapshot_of_a_newer_release_is_left_alone_and_the_log_is_read() -> None:
    database = await history("one", "two", "three")
    snapshot(database, Version(5, 2), b"what a newer release writes", schema=3)
    loaded = await source(database, of_schema(2)).load_with_tail("n")
    assert loaded.entry == notebook("n", Version(5, 3), "one", "two", "three")


@virtual_time
async def test_snapshot_that_cannot_be_read_is_left_alone_and_the_log_is_read() -> None:
    database = await history("one", "two", "three")
    snapshot(database, Version(5, 2), b"\x00 no body at all")
    loaded = await source(database).load_with_tail("n")
    assert loaded.entry == notebook("n", Version(5, 3), "one", "two", "three")


@virtual_time
async def test_base_is_completed_by_the_tail() -> None:
    reader = source(await history("one", "two", "three"))
    entry = await reader.load("n", notebook("n", Version(5, 1), "one"))
    assert entry == notebook("n", Version(5, 3), "one", "two", "three")


@virtual_time
async def test_base_at_the_end_comes_back_itself() -> None:
    base = notebook("n", Version(5, 1), "one")
    assert await source(await history("one")).load("n", base) is base


@pytest.mark.parametrize("lost", [Version(4, 1), Version(5, 9)])
@virtual_time
async def test_base_of_a_lost_branch_is_thrown_away(lost: Version) -> None:
    reader = source(await history("one", "two"))
    entry = await reader.load("n", notebook("n", lost, "another history"))
    assert entry == notebook("n", Version(5, 2), "one", "two")


@pytest.mark.parametrize("count", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 3])
@virtual_time
async def test_long_tails_are_read_page_by_page(count: int) -> None:
    lines = tuple(map(str, range(count)))
    loaded = await source(await history(*lines)).load_with_tail("n")
    assert loaded.entry is not None
    assert loaded.entry.state.lines == lines
    assert loaded.unsnapshotted == count


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
@virtual_time
async def test_state_never_depends_on_where_one_starts(
    count: int, snapshotted: int, based: int
) -> None:
    lines = tuple(map(str, range(count)))
    database = await history(*lines)
    if 0 < snapshotted <= count:
        body = NOTEBOOKS.encode_state(Notebook(lines[:snapshotted]))
        snapshot(database, Version(5, snapshotted), body)
    base = notebook("n", Version(5, based), *lines[:based]) if 0 < based <= count else None
    entry = await source(database).load("n", base)
    assert (() if entry is None else entry.state.lines) == lines


def until(seq: int) -> Callable[[Event], bool]:
    return lambda event: event.version.seq <= seq


@pytest.mark.parametrize("snapshot_at", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("seq", [1, 2, 3, 4, 9])
@virtual_time
async def test_past_state_is_the_fold_up_to_it_wherever_the_snapshot_is(
    seq: int, snapshot_at: int | None
) -> None:
    lines = ("one", "two", "three", "four")
    database = await history(*lines)
    if snapshot_at is not None:
        known = msgspec.json.encode({"lines": lines[:snapshot_at]})
        snapshot(database, Version(5, snapshot_at), known)
    found = await source(database).load_until("n", until(seq))
    assert found is not None
    assert (found.version, found.state.lines) == (Version(5, min(seq, 4)), lines[:seq])


@virtual_time
async def test_nothing_was_before_the_first_event() -> None:
    database = await history("one", "two")
    snapshot(database, Version(5, 2), b'{"lines":["one","two"]}')
    assert await source(database).load_until("n", until(0)) is None
    assert await source(await history()).load_until("n", until(9)) is None


@pytest.mark.parametrize("seq", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 1])
@virtual_time
async def test_past_state_is_folded_page_by_page(seq: int) -> None:
    lines = [f"line {number}" for number in range(2 * PAGE + 1)]
    found = await source(await history(*lines)).load_until("n", until(seq))
    assert found == notebook("n", Version(5, seq), *lines[:seq])


@virtual_time
async def test_snapshot_of_a_lost_branch_is_no_base_of_a_past_state() -> None:
    database = await history("one", "two", "three")
    snapshot(database, Version(4, 2), b'{"lines":["another history"]}')
    found = await source(database).load_until("n", until(2))
    assert found == notebook("n", Version(5, 2), "one", "two")


async def erased_down_to(kept: int, length: int) -> MemoryDatabase:
    """A history of which all between `kept` and the last event is gone, as while it is erased."""
    database = await history(*(f"line {n}" for n in range(1, length + 1)))
    events = database.events["events"]["n"]
    database.events["events"]["n"] = [*events[:kept], events[-1]]
    return database


@pytest.mark.parametrize(
    ("kept", "length", "until"),
    [(2, 6, 4), (2, 6, 2), (PAGE, PAGE + 5, PAGE + 3), (0, 6, 4), (0, 6, 6)],
)
@virtual_time
async def test_history_that_is_being_erased_has_no_past(kept: int, length: int, until: int) -> None:
    database = await erased_down_to(kept, length)
    past = await source(database).load_until("n", lambda event: event.version.seq <= until)
    assert past is None


@virtual_time
async def test_past_before_the_gap_of_an_erasure_under_way_is_whole() -> None:
    database = await erased_down_to(PAGE + 2, PAGE + 9)
    past = await source(database).load_until("n", lambda event: event.version.seq <= 7)
    assert past == notebook("n", Version(5, 7), *(f"line {n}" for n in range(1, 8)))
