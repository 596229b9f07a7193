"""The read path: which tier answers, what is kept, and what may be called fresh."""

import asyncio
from math import inf
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from src.state.buffers import Buffer
from src.state.errors import Behind, DurableTierUnavailable
from src.state.guards import Guards
from src.state.models import ZERO, Entry, Read, Version, Where
from src.state.protocols import Snapshot
from src.state.tiers.memory_database import Head
from tests.support.clock import VirtualLoop, advance, jump, settle, virtual_time
from tests.support.cluster import Cluster, Server
from tests.support.kinds import NOTEBOOKS, Notebook, claim, notebook

EPOCH = 1 << 32
INTERVAL = 0.006
"""Beyond it the log is asked again."""


class Lab:
    """One server's store, not running: the test does what pulls and announcements would do."""

    def __init__(self, guards: Guards | None = None, **changes: Any) -> None:
        self.cluster = Cluster(**changes)
        self.server: Server = self.cluster.server("a", guards=guards or Guards())
        self.store = self.server.store
        self.log = self.cluster.database

    async def __aenter__(self) -> "Lab":
        await self.pull()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.aclose()

    async def pull(self) -> None:
        """Do what a good pull does: learn the incarnations and vouch for 1.5 s."""
        for partition, position in enumerate(await self.server.bus.positions()):
            self.server.incarnations.learn(partition, position.incarnation)
        self.vouch(1.5)

    def vouch(self, seconds: float) -> None:
        self.server.heard_lease.until = self.server.clock.monotonic() + seconds

    def logged(self, id: str, *lines: str) -> Version:
        """Have events logged by some other server that has told nobody yet."""
        head = self.log.heads["conversations"].setdefault(id, Head("other", EPOCH))
        sent = claim(id, EPOCH, head.seq, *lines)
        self.log.events["events"][id].extend(sent.events)
        head.seq += len(lines)
        return Version(EPOCH, head.seq)

    async def shared(self, id: str, version: Version, *lines: str) -> None:
        """Have a body in L2."""
        body = NOTEBOOKS.encode_state(Notebook(lines))
        incarnation = self.server.incarnations.of(id)
        await self.server.shared.put(
            "notebook", [Snapshot(id, version, NOTEBOOKS.schema, body, incarnation)]
        )

    async def read(self, id: str, *, at_least: Version | None = None) -> Read[Notebook]:
        read = await self.store.get(id, at_least=at_least)
        assert read is not None
        return read

    async def where(self, id: str) -> tuple[Where, tuple[str, ...], bool]:
        """Tell the tier, the lines, and whether the answer is called fresh."""
        read = await self.read(id)
        return read.where, read.entry.state.lines, read.stale_s is None

    @property
    def loads(self) -> int:
        return self.server.source.loads


# -- tiers ---------------------------------------------------------------------------------------


@virtual_time
async def test_miss_goes_down_and_fills_upwards() -> None:
    async with Lab() as lab:
        version = lab.logged("n", "one")
        assert await lab.where("n") == (Where.L3, ("one",), True)
        assert await lab.where("n") == (Where.L1, ("one",), True)
        assert lab.loads == 1
        fills = asyncio.ensure_future(lab.store.fills.run())
        await advance(0.1)
        fills.cancel()
        copy = await lab.server.shared.get("notebook", "n")
        assert copy is not None
        assert (copy.snapshot.version, copy.current) == (version, True)


@virtual_time
async def test_body_at_its_head_in_l2_is_an_answer() -> None:
    async with Lab() as lab:
        version = lab.logged("n", "one")
        await lab.shared("n", version, "one")
        assert await lab.where("n") == (Where.L2, ("one",), True)
        assert lab.loads == 0


@virtual_time
async def test_body_below_its_head_is_completed_by_the_log() -> None:
    async with Lab() as lab:
        old = lab.logged("n", "one")
        await lab.shared("n", old, "one")
        new = lab.logged("n", "two")
        lab.cluster.space.raise_head("notebook", "n", new, lab.server.clock.monotonic(), 900)
        assert await lab.where("n") == (Where.L3, ("one", "two"), True)


@virtual_time
async def test_body_that_cannot_be_read_is_a_miss() -> None:
    async with Lab() as lab:
        version = lab.logged("n", "one")
        incarnation = lab.server.incarnations.of("n")
        broken = Snapshot("n", version, NOTEBOOKS.schema, b"\x00", incarnation)
        await lab.server.shared.put("notebook", [broken])
        assert await lab.where("n") == (Where.L3, ("one",), True)


@virtual_time
async def test_body_of_a_newer_release_is_a_miss() -> None:
    async with Lab() as lab:
        version = lab.logged("n", "one")
        incarnation = lab.server.incarnations.of("n")
        newer = Snapshot("n", version, NOTEBOOKS.schema + 1, b"{}", incarnation)
        await lab.server.shared.put("notebook", [newer])
        assert await lab.where("n") == (Where.L3, ("one",), True)


@virtual_time
async def test_l2_away_is_no_reason_to_fail() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.cluster.space.available = False
        assert await lab.where("n") == (Where.L3, ("one",), True)


@virtual_time
async def test_a_thousand_readers_of_a_cold_entry_make_one_load() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.read_link.delay_s = 0.1
        reads = await asyncio.gather(*(lab.read("n") for _ in range(1000)))
        assert {read.entry.state.lines for read in reads} == {("one",)}
        assert (lab.loads, lab.server.read_link.trips) == (1, 1)


@virtual_time
async def test_a_thousand_readers_with_a_version_make_two_loads_at_the_most() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.read_link.delay_s = 0.1
        early = asyncio.ensure_future(lab.read("n"))
        await advance(0.15)
        version = lab.logged("n", "two")
        reads = await asyncio.gather(*(lab.read("n", at_least=version) for _ in range(1000)))
        assert {read.entry.version for read in reads} == {version}
        await early
        assert lab.loads <= 3


# -- fresh or labelled ---------------------------------------------------------------------------


@virtual_time
async def test_entry_that_was_heard_to_be_old_is_no_answer() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        version = lab.logged("n", "two")
        lab.store.invalidate("n", version)
        assert lab.store.peek("n") is None
        await advance(INTERVAL)
        assert await lab.where("n") == (Where.L3, ("one", "two"), True)
        assert lab.store.peek("n") is not None


@virtual_time
async def test_switched_off_watermark_answers_what_is_old() -> None:
    async with Lab(Guards(watermark=False)) as lab:
        lab.logged("n", "one")
        await lab.read("n")
        lab.store.invalidate("n", lab.logged("n", "two"))
        assert await lab.where("n") == (Where.L1, ("one",), True)


@virtual_time
async def test_entry_is_fresh_only_while_everything_was_heard() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        jump(1.4)
        assert lab.store.peek("n") is not None
        jump(0.2)
        assert lab.store.peek("n") is None
        lab.logged("n", "two")
        assert await lab.where("n") == (Where.L3, ("one", "two"), True)


@virtual_time
async def test_blocked_process_calls_nothing_fresh_when_it_wakes() -> None:
    """No timer ran while it was blocked; the clock is compared in the read itself."""
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        jump(60)
        assert lab.store.peek("n") is None


@virtual_time
async def test_body_in_l2_is_an_answer_only_while_everything_was_heard() -> None:
    """A server that cannot reach Redis raises no head there: what looks newest may be old."""
    async with Lab() as lab:
        old = lab.logged("n", "one")
        await lab.shared("n", old, "one")
        lab.logged("n", "two")
        jump(2)
        assert await lab.where("n") == (Where.L3, ("one", "two"), True)


@virtual_time
async def test_l3_away_answers_from_l1_with_a_label() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        lab.log.available = False
        jump(10)
        read = await lab.read("n")
        assert (read.where, read.entry.state.lines) == (Where.L1, ("one",))
        assert read.stale_s == pytest.approx(8.5)


@virtual_time
async def test_l3_away_answers_from_l2_with_a_label() -> None:
    async with Lab() as lab:
        await lab.shared("n", lab.logged("n", "one"), "one")
        lab.log.available = False
        jump(10)
        read = await lab.read("n")
        assert (read.where, read.entry.state.lines) == (Where.L2, ("one",))
        assert read.stale_s is not None


@virtual_time
@pytest.mark.parametrize("kept_in", ["L1", "L2"])
async def test_l3_away_nobody_says_how_old_a_copy_is_that_was_heard_to_be_old(kept_in: str) -> None:
    async with Lab() as lab:
        await lab.shared("n", lab.logged("n", "one"), "one")
        if kept_in == "L1":
            await lab.read("n")
        lab.store.invalidate("n", lab.logged("n", "two"))
        lab.log.available = False
        await advance(INTERVAL)
        read = await lab.read("n")
        assert (read.entry.state.lines, read.stale_s) == (("one",), inf)


@virtual_time
async def test_l3_away_makes_an_unknown_entry_an_error_and_never_not_found() -> None:
    async with Lab() as lab:
        lab.log.available = False
        with pytest.raises(DurableTierUnavailable):
            await lab.store.get("n")
        lab.log.available = True
        lab.logged("n", "one")
        assert await lab.where("n") == (Where.L3, ("one",), True)


@virtual_time
async def test_all_tiers_below_away_answers_what_l1_has() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        lab.log.available = lab.cluster.space.available = False
        jump(10)
        assert await lab.where("n") == (Where.L1, ("one",), False)


@virtual_time
async def test_busy_entry_is_probed_at_most_once_per_interval() -> None:
    async with Lab(tail_interval=0.1) as lab:
        lab.logged("n", "one")
        await lab.read("n")
        for _ in range(50):
            lab.store.invalidate("n", lab.logged("n", "more"))
            await lab.read("n")
        assert lab.loads == 1
        await advance(0.1)
        assert len((await lab.read("n")).entry.state.lines) == 51
        assert lab.loads == 2


# -- versions asked for --------------------------------------------------------------------------


@virtual_time
async def test_version_asked_for_is_probed_although_nothing_was_heard() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        version = lab.logged("n", "two")
        read = await lab.read("n", at_least=version)
        assert (read.entry.version, read.where) == (version, Where.L3)


@virtual_time
async def test_version_that_nobody_has_is_behind() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        with pytest.raises(Behind) as caught:
            await lab.read("n", at_least=Version(EPOCH, 2))
        assert "4294967296.2" in str(caught.value)
        with pytest.raises(Behind):
            await lab.store.get("nobody", at_least=Version(EPOCH, 1))


@virtual_time
async def test_version_logged_while_a_load_is_under_way_is_found() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.read_link.delay_s = 0.1
        lab.server.read_link.hold()
        early = asyncio.ensure_future(lab.read("n"))
        await settle()
        lab.server.read_link.release()
        await advance(0.1001)
        version = lab.logged("n", "two")
        read = await lab.read("n", at_least=version)
        assert read.entry.version == version
        await early


@virtual_time
async def test_each_answer_is_counted_at_the_tier_that_gave_it() -> None:
    async with Lab() as lab:
        version = lab.logged("n", "one")
        await lab.shared("m", Version(EPOCH, 1), "one")
        assert lab.store.counts() == {
            "l1_hits": 0,
            "l2_hits": 0,
            "l3_loads": 0,
            "l1_entries": 0,
            "l1_evictions": 0,
        }
        await lab.read("n")
        await lab.read("m")
        await lab.read("n", at_least=version)
        assert lab.store.counts() == {
            "l1_hits": 1,
            "l2_hits": 1,
            "l3_loads": 1,
            "l1_entries": 2,
            "l1_evictions": 0,
        }


@virtual_time
async def test_version_asked_for_that_is_held_or_loaded_needs_no_further_load() -> None:
    async with Lab() as lab:
        version = lab.logged("n", "one")
        assert (await lab.read("n", at_least=version)).where == Where.L3
        assert lab.loads == 1
        assert (await lab.read("n", at_least=version)).where == Where.L1
        assert lab.loads == 1


@virtual_time
async def test_version_of_no_epoch_is_never_called_lost() -> None:
    async with Lab() as lab:
        lab.log.events["events"]["config"].extend(claim("config", 0, 0, "one").events)
        lab.server.membership.timeline = 2
        with pytest.raises(Behind):
            await lab.read("config", at_least=Version(0, 9))


@virtual_time
async def test_l2_is_not_asked_for_what_l1_has_a_base_of() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        trips = lab.server.shared_link.trips
        lab.store.invalidate("n", lab.logged("n", "two"))
        await advance(2 * INTERVAL)
        assert (await lab.read("n")).entry.state.lines == ("one", "two")
        assert lab.server.shared_link.trips == trips


@virtual_time
async def test_body_in_l2_of_the_very_version_heard_of_is_an_answer() -> None:
    async with Lab() as lab:
        version = lab.logged("n", "one")
        await lab.shared("n", version, "one")
        lab.store.invalidate("n", version)
        assert await lab.where("n") == (Where.L2, ("one",), True)


@virtual_time
async def test_without_l3_a_copy_of_the_very_version_heard_of_needs_no_l2() -> None:
    async with Lab() as lab:
        version = lab.logged("n", "one")
        await lab.read("n")
        lab.store.invalidate("n", version)
        assert lab.store.peek("n") is not None
        await advance(5)
        lab.server.read_link.up = False
        trips = lab.server.shared_link.trips
        assert await lab.where("n") == (Where.L1, ("one",), False)
        assert lab.server.shared_link.trips == trips


@virtual_time
async def test_without_l3_a_body_of_l2_is_asked_for_once_and_then_kept_as_a_base_alone() -> None:
    async with Lab() as lab:
        await lab.shared("n", lab.logged("n", "one"), "one")
        lab.log.available = False
        jump(10)
        trips = lab.server.shared_link.trips
        assert await lab.where("n") == (Where.L2, ("one",), False)
        assert lab.server.shared_link.trips == trips + 1
        assert await lab.where("n") == (Where.L1, ("one",), False)
        lab.log.available = True
        lab.vouch(1.5)
        lab.logged("n", "two")
        assert await lab.where("n") == (Where.L3, ("one", "two"), True)


@virtual_time
async def test_without_l3_a_newer_body_of_l2_takes_the_place_of_an_older_copy() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        newer = lab.logged("n", "two")
        await lab.shared("n", newer, "one", "two")
        lab.store.invalidate("n", newer)
        lab.log.available = False
        jump(10)
        assert await lab.where("n") == (Where.L2, ("one", "two"), False)
        assert await lab.where("n") == (Where.L1, ("one", "two"), False)


@virtual_time
async def test_without_l3_a_body_of_l2_that_is_no_newer_changes_nothing() -> None:
    async with Lab() as lab:
        version = lab.logged("n", "one")
        await lab.read("n")
        await lab.shared("n", version, "one")
        lab.store.invalidate("n", lab.logged("n", "two"))
        lab.log.available = False
        jump(10)
        assert await lab.where("n") == (Where.L1, ("one",), False)


@virtual_time
async def test_copy_that_was_doubted_and_found_to_be_the_newest_is_an_answer_again() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        lab.store.clear(lambda _: True)
        await advance(2 * INTERVAL)
        assert (await lab.read("n")).where == Where.L3
        await advance(2 * INTERVAL)
        assert (await lab.read("n")).where == Where.L1


@virtual_time
async def test_nothing_was_unheard_while_all_is_vouched_for() -> None:
    async with Lab() as lab:
        assert lab.store.unheard_s() == 0.0
        await advance(2.0)
        assert lab.store.unheard_s() == 0.5


@virtual_time
async def test_what_an_owner_keeps_has_room_to_grow_by_a_quarter() -> None:
    async with Lab() as lab:
        lab.server.owned_lease.until = float("inf")
        for size, held in ((100, 125), (125, 125), (126, 157), (8, 157)):
            entry = notebook("n", Version(EPOCH, size), "one")
            lab.store.put_owned(entry, size)
            assert lab.store.buffers()["l1_bytes"].size == held
            assert lab.store.peek("n") is entry


@virtual_time
async def test_what_is_owned_no_more_is_a_base_unless_it_shows_what_is_not_logged() -> None:
    async with Lab() as lab:
        lab.server.owned_lease.until = float("inf")
        lab.store.put_owned(notebook("logged", Version(EPOCH, 1), "one"), 8)
        ahead = Entry("ahead", Version(EPOCH, 1), Notebook(("one", "two")), Version(EPOCH, 2))
        lab.store.put_owned(ahead, 8)
        for id in ("logged", "ahead"):
            lab.store.disown(id)
            assert lab.store.peek(id) is None
        assert lab.store.counts()["l1_entries"] == 1
        lab.log.available = False
        assert await lab.where("logged") == (Where.L1, ("one",), False)


@virtual_time
async def test_only_what_is_an_answer_and_is_logged_is_shared() -> None:
    async with Lab() as lab:
        lab.server.owned_lease.until = float("inf")
        for id, ahead in (("answer", None), ("behind", None), ("ahead", Version(EPOCH, 2))):
            entry = Entry(id, Version(EPOCH, 1), Notebook(("one",)), ahead)
            lab.store.put_owned(entry, 8)
        lab.store.invalidate("behind", Version(EPOCH, 2))
        lab.store.share()
        assert lab.store.buffers()["fills"].size == 1


@virtual_time
async def test_without_l3_a_body_of_l2_takes_no_owners_place() -> None:
    async with Lab() as lab:
        lab.store.put_owned(notebook("n", lab.logged("n", "one"), "one"), 100)
        newer = lab.logged("n", "two")
        await lab.shared("n", newer, "one", "two")
        lab.store.invalidate("n", newer)
        lab.log.available = False
        jump(10)
        assert await lab.where("n") == (Where.L2, ("one", "two"), False)
        assert lab.store.buffers()["l1_bytes"].size == 125


# -- refills -------------------------------------------------------------------------------------


@pytest.mark.parametrize("doubt", [True, False], ids=["messages were missed", "it was heard"])
@virtual_time
async def test_load_that_an_invalidation_overtook_is_never_kept_as_fresh(doubt: bool) -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.read_link.hold_answers()
        reader = asyncio.ensure_future(lab.read("n"))
        await settle()
        version = lab.logged("n", "two")
        if doubt:
            lab.store.clear(lambda _: True)
        else:
            lab.store.invalidate("n", version)
        lab.server.read_link.release()
        await reader
        entry = lab.store.peek("n")
        assert entry is None or entry.version == version
        await advance(INTERVAL)
        assert (await lab.read("n")).entry.version == version


@virtual_time
async def test_reader_that_joins_a_slow_load_is_told_what_was_heard_before_it_came() -> None:
    """Else a write acknowledged long before would be missing from an answer called fresh."""
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.read_link.hold_answers()
        early = asyncio.ensure_future(lab.read("n"))
        await settle()
        version = lab.logged("n", "two")
        lab.store.invalidate("n", version)
        await advance(2.5)
        lab.vouch(1.5)
        late = asyncio.ensure_future(lab.read("n"))
        await settle()
        lab.server.read_link.release()
        assert (await late).entry.version == version
        await early


@virtual_time
async def test_mark_that_was_pushed_out_still_keeps_its_load_out() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.read_link.hold_answers()
        reader = asyncio.ensure_future(lab.read("n"))
        await settle()
        version = lab.logged("n", "two")
        lab.store.invalidate("n", version)
        for i in range(50_000):
            lab.store.invalidate(f"other {i}", Version(1, 1))
        lab.server.read_link.release()
        await reader
        await advance(INTERVAL)
        assert (await lab.read("n")).entry.version == version


@virtual_time
async def test_older_load_does_not_replace_a_newer_entry() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.read_link.hold_answers()
        reader = asyncio.ensure_future(lab.read("n"))
        await settle()
        lab.store.put_owned(notebook("n", Version(EPOCH, 2), "one", "two"), 10)
        lab.server.owned_lease.until = float("inf")
        lab.server.read_link.release()
        await reader
        entry = lab.store.peek("n")
        assert entry is not None
        assert entry.state.lines == ("one", "two")


@virtual_time
async def test_fill_of_another_life_of_redis_is_no_answer() -> None:
    """Loaded before FLUSHALL, put after it: the heads that knew better are gone."""
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.read_link.hold_answers()
        reader = asyncio.ensure_future(lab.read("n"))
        await settle()
        lab.cluster.space.clear()
        await lab.pull()
        lab.server.read_link.release()
        await reader
        fills = asyncio.ensure_future(lab.store.fills.run())
        await advance(0.1)
        fills.cancel()
        copy = await lab.server.shared.get("notebook", "n")
        assert copy is not None
        assert not copy.current


# -- not found -----------------------------------------------------------------------------------


@virtual_time
async def test_not_found_is_kept_for_a_second() -> None:
    async with Lab() as lab:
        lab.vouch(100)
        for _ in range(100):
            assert await lab.store.get("n") is None
        assert lab.loads == 1
        lab.logged("n", "one")
        await advance(0.9)
        assert await lab.store.get("n") is None
        await advance(0.2)
        assert await lab.where("n") == (Where.L3, ("one",), True)


@virtual_time
async def test_not_found_is_dropped_by_an_invalidation() -> None:
    async with Lab() as lab:
        assert await lab.store.get("n") is None
        lab.store.invalidate("n", lab.logged("n", "one"))
        assert await lab.where("n") == (Where.L3, ("one",), True)


@pytest.mark.parametrize("doubt", [True, False], ids=["messages were missed", "it was heard"])
@virtual_time
async def test_not_found_that_an_invalidation_overtook_is_not_kept(doubt: bool) -> None:
    async with Lab() as lab:
        lab.server.read_link.hold_answers()
        reader = asyncio.ensure_future(lab.store.get("n"))
        await settle()
        version = lab.logged("n", "one")
        if doubt:
            lab.store.clear(lambda _: True)
        else:
            lab.store.invalidate("n", version)
        lab.server.read_link.release()
        await reader
        assert await lab.store.get("n") is not None


@virtual_time
async def test_version_asked_for_is_looked_up_past_a_kept_not_found() -> None:
    async with Lab() as lab:
        assert await lab.store.get("n") is None
        version = lab.logged("n", "one")
        assert (await lab.read("n", at_least=version)).entry.version == version


@virtual_time
async def test_not_found_is_bounded() -> None:
    async with Lab() as lab:
        for i in range(10_100):
            await lab.store.get(f"n{i}")
        missing = lab.store.buffers()["missing"]
        assert missing.size <= missing.bound == 10_000
        assert missing.left_out > 0


# -- the owner's entries -------------------------------------------------------------------------


@virtual_time
async def test_owned_entry_hangs_on_the_beat_and_not_on_the_pulls() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.owned_lease.until = lab.server.clock.monotonic() + 5
        lab.store.put_owned(notebook("n", Version(EPOCH, 1), "one"), 10)
        jump(4)
        assert lab.store.peek("n") is not None
        jump(2)
        assert lab.store.peek("n") is None


@virtual_time
async def test_owner_that_read_what_it_is_still_logging_does_not_go_back_with_its_beats() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.owned_lease.until = lab.server.clock.monotonic() + 5
        lab.store.put_owned(notebook("n", Version(EPOCH, 1), "one"), 10)
        # Its next append is committed, the answer is late, and so are its beats.
        lab.logged("n", "two")
        jump(6)
        await lab.pull()
        assert await lab.where("n") == (Where.L3, ("one", "two"), True)
        lab.server.owned_lease.until = lab.server.clock.monotonic() + 5
        assert lab.store.peek("n") is None
        assert await lab.where("n") == (Where.L3, ("one", "two"), True)
        lab.store.put_owned(notebook("n", Version(EPOCH, 2), "one", "two"), 10)
        assert await lab.where("n") == (Where.L1, ("one", "two"), True)


@virtual_time
async def test_disowned_entry_is_a_base_and_no_answer() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.owned_lease.until = float("inf")
        lab.store.put_owned(notebook("n", Version(EPOCH, 1), "one"), 10)
        lab.store.disown("n")
        assert lab.store.peek("n") is None
        await advance(INTERVAL)
        lab.logged("n", "two")
        assert await lab.where("n") == (Where.L3, ("one", "two"), True)


@virtual_time
async def test_disowned_entry_with_buffered_changes_is_dropped() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.owned_lease.until = float("inf")
        ahead = Entry("n", Version(EPOCH, 1), Notebook(("one", "never logged")), Version(EPOCH, 2))
        lab.store.put_owned(ahead, 10)
        lab.store.disown("n")
        assert await lab.where("n") == (Where.L3, ("one",), True)


@virtual_time
async def test_doubt_leaves_owned_entries_alone() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        lab.server.owned_lease.until = float("inf")
        lab.store.put_owned(notebook("mine", Version(EPOCH, 1), "x"), 10)
        await lab.read("n")
        lab.store.clear(lambda _: True)
        assert lab.store.peek("mine") is not None
        assert lab.store.peek("n") is None


@virtual_time
async def test_doubt_of_one_partition_leaves_the_others_alone() -> None:
    async with Lab() as lab:
        for id in ("a", "b"):
            lab.logged(id, "one")
            await lab.read(id)
        lab.store.clear(lambda name: name == "a")
        assert (lab.store.peek("a"), lab.store.peek("b") is None) == (None, False)


@virtual_time
async def test_own_write_of_a_config_is_in_the_next_read() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        version = lab.logged("n", "two")
        lab.store.written("n", version)
        assert await lab.where("n") == (Where.L3, ("one", "two"), True)


@virtual_time
async def test_listeners_hear_of_every_version() -> None:
    async with Lab() as lab:
        heard: list[tuple[str, Version]] = []
        lab.store.listeners.append(lambda *told: heard.append(told))
        lab.store.invalidate("n", Version(1, 2))
        lab.store.written("n", Version(1, 3))
        assert heard == [("n", Version(1, 2)), ("n", Version(1, 3))]


# -- bounds and values ---------------------------------------------------------------------------


@virtual_time
async def test_l1_is_bounded() -> None:
    async with Lab(l1_entries=10) as lab:
        for i in range(30):
            lab.logged(f"n{i}", "one")
            await lab.read(f"n{i}")
        counts = lab.store.counts()
        assert (counts["l1_entries"], counts["l1_evictions"]) == (10, 20)
        assert lab.store.buffers()["l1_entries"] == Buffer(10, 10, 20, "notebook")


@virtual_time
async def test_reader_cannot_change_what_is_kept() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        entry = (await lab.read("n")).entry
        with pytest.raises(AttributeError):
            entry.state.lines = ()  # type: ignore[misc]  # that it is refused is the point
        with pytest.raises(AttributeError):
            entry.version = ZERO  # type: ignore[misc]  # the same
        assert entry is (await lab.read("n")).entry


@virtual_time
async def test_json_is_made_once_per_entry() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        made = 0

        def encode(state: Notebook) -> bytes:
            nonlocal made
            made += 1
            return NOTEBOOKS.encode_state(state)

        bodies = [(await lab.read("n")).entry.body(encode) for _ in range(5)]
        assert {id(body) for body in bodies} == {id(bodies[0])}
        assert made == 0


# -- against a model -----------------------------------------------------------------------------

_IDS = st.sampled_from("ab")


class Reads(RuleBasedStateMachine):
    """Events are logged by nobody in particular, told sooner or later, and read all the time.

    What a read must contain is what had been told when it began; what it may contain is what had
    been logged when it ended. Loads are held up at will, so that everything overtakes everything.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.told = dict.fromkeys("ab", 0)
        self.reading: list[tuple[str, int, Any]] = []
        self.runner.run(self.begin())

    async def begin(self) -> None:
        self.cluster = Cluster(l1_entries=1, tail_interval=0.0)
        self.server = self.cluster.server()
        self.store = self.server.store
        self.fills = asyncio.ensure_future(self.store.fills.run())
        await self.pull()

    async def pull(self) -> None:
        for partition, position in enumerate(await self.server.bus.positions()):
            if self.server.incarnations.learn(partition, position.incarnation):
                self.server.doubt(partition)
        self.server.heard_lease.until = float("inf")

    def logged(self, id: str) -> int:
        head = self.cluster.database.heads["conversations"].get(id)
        return 0 if head is None else head.seq

    # -- what happens ----------------------------------------------------------------------------

    @rule(id=_IDS)
    def log(self, id: str) -> None:
        head = self.cluster.database.heads["conversations"].setdefault(id, Head("other", EPOCH))
        sent = claim(id, EPOCH, head.seq, f"line {head.seq + 1}")
        self.cluster.database.events["events"][id].extend(sent.events)
        head.seq += 1

    @rule(id=_IDS)
    def write(self, id: str) -> None:
        """Log and tell in one go."""
        self.log(id)
        self.tell(id)

    @rule(id=_IDS)
    def tell(self, id: str) -> None:
        """As an owner does: heads in L2 first, then who listens."""
        version = Version(EPOCH, self.logged(id))

        async def tell() -> None:
            now = self.server.clock.monotonic()
            self.cluster.space.raise_head("notebook", id, version, now, 900)
            self.store.invalidate(id, version)

        if version.seq:
            self.runner.run(tell())
            self.told[id] = version.seq

    @rule()
    def doubt(self) -> None:
        """Messages were missed: all that is logged by now may have been told."""
        for id in self.told:
            version = Version(EPOCH, self.logged(id))

            async def raise_head(id: str = id, version: Version = version) -> None:
                now = self.server.clock.monotonic()
                self.cluster.space.raise_head("notebook", id, version, now, 900)

            if version.seq:
                self.runner.run(raise_head())
                self.told[id] = version.seq
        self.store.clear(lambda _: True)

    @rule()
    def clear_redis(self) -> None:
        self.cluster.space.clear()
        self.runner.run(self.pull())

    @rule(id=_IDS, behind=st.integers(0, 2))
    def flush_to_l2(self, id: str, behind: int) -> None:
        """Somebody puts a body, perhaps a late one."""
        seq = self.logged(id) - behind
        if seq < 1:
            return
        lines = tuple(f"line {n}" for n in range(1, seq + 1))
        body = NOTEBOOKS.encode_state(Notebook(lines))
        # Late bodies were taken before their head was announced, so the head is known by now.
        snapshot = Snapshot(
            id, Version(EPOCH, seq), NOTEBOOKS.schema, body, self.server.incarnations.of(id)
        )

        async def put() -> None:
            now = self.server.clock.monotonic()
            head = Version(EPOCH, max(seq, self.told[id]))
            self.cluster.space.raise_head("notebook", id, head, now, 900)
            await self.server.shared.put("notebook", [snapshot])

        self.runner.run(put())

    @rule()
    def read_all(self) -> None:
        for id in self.told:
            self.read(id)

    @rule(id=_IDS)
    def read(self, id: str) -> None:
        """Begin to read."""

        async def begin() -> Any:
            task = asyncio.ensure_future(self.store.get(id))
            await settle()
            return task

        self.reading.append((id, self.told[id], self.runner.run(begin())))
        self.check()

    @rule()
    def hold(self) -> None:
        self.server.read_link.hold_answers()

    @rule()
    def release(self) -> None:
        self.server.read_link.release()
        self.runner.run(advance(0.01))
        self.check()

    @rule()
    def wait(self) -> None:
        self.runner.run(advance(1.1))

    # -- what must hold --------------------------------------------------------------------------

    def check(self) -> None:
        waiting = []
        for id, told, task in self.reading:
            if not task.done():
                waiting.append((id, told, task))
                continue
            read = task.result()
            seq = 0 if read is None else read.entry.version.seq
            assert told <= seq <= self.logged(id), f"{id}: read {seq}, told {told}"
            if read is not None:
                lines = tuple(f"line {n}" for n in range(1, seq + 1))
                assert read.entry.state.lines == lines
        self.reading = waiting

    @invariant()
    def hits_contain_all_that_was_told(self) -> None:
        async def peek() -> None:
            for id, told in self.told.items():
                entry = self.store.peek(id)
                assert entry is None or entry.version.seq >= told

        self.runner.run(peek())

    @invariant()
    def l1_is_bounded(self) -> None:
        assert self.store.counts()["l1_entries"] <= 1

    def teardown(self) -> None:
        self.release()
        self.fills.cancel()
        self.runner.close()


TestReads = Reads.TestCase
TestReads.settings = hypothesis_settings(max_examples=80, stateful_step_count=30, deadline=None)


# -- erasing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept_in", ["l1", "l2"])
@virtual_time
async def test_copy_of_what_was_erased_is_no_answer_without_l3_either(kept_in: str) -> None:
    async with Lab() as lab:
        version = lab.logged("n", "secret")
        if kept_in == "l1":
            await lab.read("n")
        else:
            await lab.shared("n", version, "secret")
        lab.store.erase("n")
        lab.log.available = False
        with pytest.raises(DurableTierUnavailable):
            await lab.store.get("n")
        assert lab.store.peek("n") is None


@virtual_time
async def test_what_is_left_of_the_erased_is_read_from_the_log_and_kept_nowhere() -> None:
    async with Lab() as lab:
        await lab.shared("n", lab.logged("n", "secret"), "secret")
        lab.store.erase("n")
        lab.log.events["events"]["n"].clear()
        lab.logged("n", "tombstone")
        assert await lab.where("n") == (Where.L3, ("tombstone",), True)
        assert (lab.store.peek("n"), lab.store.fills.buffer("").size) == (None, 0)


@virtual_time
async def test_load_that_an_erasure_overtook_is_kept_nowhere() -> None:
    async with Lab() as lab:
        lab.logged("n", "secret")
        lab.server.read_link.hold_answers()
        reading = asyncio.ensure_future(lab.store.get("n"))
        await settle()
        lab.store.erase("n")
        lab.server.read_link.release()
        await reading
        lab.log.available = False
        with pytest.raises(DurableTierUnavailable):
            await lab.store.get("n")


@virtual_time
async def test_fill_that_waits_is_not_written_once_it_is_erased() -> None:
    async with Lab() as lab:
        lab.logged("n", "secret")
        await lab.read("n")
        lab.store.erase("n")
        fills = asyncio.ensure_future(lab.store.fills.run())
        await advance(0.1)
        fills.cancel()
        assert await lab.server.shared.get("notebook", "n") is None


@virtual_time
async def test_doubted_copy_is_compared_with_l2_when_l3_is_away() -> None:
    async with Lab() as lab:
        lab.logged("n", "one")
        await lab.read("n")
        await lab.shared("n", lab.logged("n", "two"), "one", "two")
        lab.store.clear(lambda _: True)
        lab.log.available = False
        await advance(INTERVAL)
        read = await lab.read("n")
        assert (read.where, read.entry.state.lines) == (Where.L2, ("one", "two"))
        assert read.stale_s is not None
