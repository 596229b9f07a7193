"""L1: bounded by count and by bytes, least recently used goes first."""

import gc
import random
from collections import OrderedDict

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from src.state.models import Version
from src.state.tiers.memory import Lease, MemoryTier, Slot
from tests.support.kinds import Notebook, notebook

LEASE = Lease()


def slot(size: int = 1, seq: int = 1) -> Slot[Notebook]:
    return Slot(notebook("n", Version(1, seq)), LEASE, size)


def filled(*ids: str, max_entries: int = 3, max_bytes: int = 1000) -> MemoryTier[Notebook]:
    tier: MemoryTier[Notebook] = MemoryTier(max_entries, max_bytes)
    for id in ids:
        tier.put(id, slot())
    return tier


def test_miss_is_none() -> None:
    assert filled().get("n") is None


def test_slot_comes_back_itself() -> None:
    tier, kept = filled(), slot()
    tier.put("n", kept)
    assert tier.get("n") is kept


def test_least_recently_used_goes_first() -> None:
    tier = filled("a", "b", "c")
    tier.get("a")
    tier.put("d", slot())
    assert [id for id, _ in tier.slots()] == ["a", "c", "d"]
    assert tier.evictions == 1


def test_bytes_are_bounded_too() -> None:
    tier: MemoryTier[Notebook] = MemoryTier(100, 10)
    for id in "abcd":
        tier.put(id, slot(3))
    assert sorted(id for id, _ in tier.slots()) == ["b", "c", "d"]
    assert tier.bytes == 9


def test_replaced_slot_gives_its_bytes_back() -> None:
    tier = filled()
    for size in (5, 7, 2):
        tier.put("n", slot(size))
    assert (tier.bytes, len(tier), tier.evictions) == (2, 1, 0)


def test_dropped_slot_gives_its_bytes_back() -> None:
    tier = filled("a", "b")
    tier.drop("a")
    tier.drop("missing")
    assert (tier.bytes, tier.get("a"), len(tier)) == (1, None, 1)


def test_looking_at_all_slots_is_no_use_of_them() -> None:
    tier = filled("a", "b", "c")
    tier.get("a")
    tier.slots()
    tier.put("d", slot())
    assert tier.get("b") is None
    assert tier.get("a") is not None


def test_slots_are_nothing_for_the_collector() -> None:
    tier: MemoryTier[Notebook] = MemoryTier(1000, 1 << 30)
    for i in range(1000):
        tier.put(f"n{i}", slot())
    assert not any(gc.is_tracked(kept) for _, kept in tier.slots())
    assert not any(gc.is_tracked(kept.entry) for _, kept in tier.slots())


class LeastRecentlyUsed(RuleBasedStateMachine):
    """The tier against an ordered dict."""

    ENTRIES, BYTES = 4, 20
    ids = st.sampled_from("abcdefg")

    def __init__(self) -> None:
        super().__init__()
        self.tier: MemoryTier[Notebook] = MemoryTier(self.ENTRIES, self.BYTES)
        self.model: OrderedDict[str, int] = OrderedDict()

    @rule(id=ids, size=st.integers(1, 15))
    def put(self, id: str, size: int) -> None:
        self.tier.put(id, slot(size))
        self.model.pop(id, None)
        while self.model and (
            len(self.model) >= self.ENTRIES or sum(self.model.values()) + size > self.BYTES
        ):
            self.model.popitem(last=False)
        self.model[id] = size

    @rule(id=ids)
    def get(self, id: str) -> None:
        found = self.tier.get(id)
        assert (found is not None) == (id in self.model)
        if found is not None:
            self.model.move_to_end(id)

    @rule(id=ids)
    def drop(self, id: str) -> None:
        self.tier.drop(id)
        self.model.pop(id, None)

    @invariant()
    def same(self) -> None:
        assert {id: kept.size for id, kept in self.tier.slots()} == dict(self.model)
        assert self.tier.bytes == sum(self.model.values()) <= self.BYTES
        assert len(self.tier) <= self.ENTRIES


TestLeastRecentlyUsed = LeastRecentlyUsed.TestCase
TestLeastRecentlyUsed.settings = hypothesis_settings(
    max_examples=50, stateful_step_count=30, deadline=None
)


@pytest.mark.parametrize("seed", range(3))
def test_bytes_never_drift(seed: int) -> None:
    rng = random.Random(seed)
    tier: MemoryTier[Notebook] = MemoryTier(50, 500)
    for _ in range(5000):
        tier.put(str(rng.randrange(200)), slot(rng.randrange(1, 30)))
    assert tier.bytes == sum(kept.size for _, kept in tier.slots()) <= 500
