"""Write-behind: many updates in memory, one write of the snapshot."""

from __future__ import annotations

import time

from src.demo.promises import Name, Promise
from src.demo.stage import PEOPLE, Stage

_UPDATES = 50
_WITHIN_S = 5.0
_PATIENCE_S = 8.0


async def updates_collapse(stage: Stage) -> Promise:
    """Update a conversation 50 times in a row; count the writes of its snapshot."""
    expected = f"1 snapshot write for {_UPDATES} updates, within {_WITHIN_S:.0f} s"
    room = "demo-burst"
    await stage.a.begin(room, PEOPLE)
    if not await stage.outside.snapshots_at_head([room], _PATIENCE_S):
        return Promise(Name.COLLAPSE, False, expected, "even a new conversation was never flushed")
    before = await stage.outside.snapshot_writes(room)
    stage.audience.note(f"{_UPDATES} updates of one blackboard on server A")
    began = time.perf_counter()
    count = {"type": "blackboard", "increment": [{"id": "count", "by": 1}]}
    for _ in range(_UPDATES):
        await stage.a.command(room, count)
    took_s = time.perf_counter() - began
    flushed = await stage.outside.snapshots_at_head([room], _PATIENCE_S)
    flushed_s = time.perf_counter() - began
    writes = await stage.outside.snapshot_writes(room) - before
    stage.figures["updates_s"] = round(took_s, 3)
    stage.figures["flushed_after_s"] = round(flushed_s, 3)
    stage.figures["snapshot_writes"] = writes
    found = f"{writes} write{'' if writes == 1 else 's'} for {_UPDATES} updates in {took_s:.2f} s"
    found += f", in the database after {flushed_s:.1f} s" if flushed else ", never flushed"
    kept = flushed and writes == 1 and flushed_s <= _WITHIN_S
    return Promise(Name.COLLAPSE, kept, expected, found)
