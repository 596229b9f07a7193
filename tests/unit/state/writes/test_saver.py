"""A state that can never be written is put aside with its reason and costs no other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from src.state.models import Entry, Version
from src.state.tiers.memory_log import MemoryLog
from src.state.writes.poison import Poison
from src.state.writes.saver import Saver
from tests.support.clock import VirtualClock, virtual_time
from tests.support.cluster import Cluster
from tests.support.kinds import NOTEBOOKS, Notebook, notebook


@pytest.mark.parametrize(
    ("error", "why"), [(ValueError("too long"), "too long"), (ValueError(), "ValueError()")]
)
@virtual_time
async def test_reason_is_what_the_error_says_or_else_what_it_is(
    error: Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()
    log = cluster.server().log
    save = log.save

    async def refuse(self: MemoryLog, entries: Sequence[Entry[Any]]) -> None:
        if any(entry.id == "bad" for entry in entries):
            raise error
        await save(entries)

    monkeypatch.setattr(MemoryLog, "save", refuse)
    saver: Saver[Notebook] = Saver(NOTEBOOKS, log, VirtualClock(), Poison(log, "notebook"))
    await saver.save([notebook(id, Version(1, 1), "one") for id in ("a", "bad", "b")])
    assert [(event.aggregate_id, said) for event, said in cluster.database.quarantine] == [
        ("bad", why)
    ]
    assert sorted(cluster.database.snapshots["snapshots"]) == ["a", "b"]


@virtual_time
async def test_state_that_cannot_even_be_encoded_is_put_aside_without_its_body() -> None:
    cluster = Cluster()
    log = cluster.server().log

    def encode(_: Notebook) -> bytes:
        raise ZeroDivisionError("a defect of the codec")

    saver = Saver(
        replace(NOTEBOOKS, encode_state=encode), log, VirtualClock(), Poison(log, "notebook")
    )
    await saver._put_aside(notebook("n", Version(1, 1), "one"), ValueError("unfit"))
    ((event, why),) = cluster.database.quarantine
    assert (event.body, event.event_id, why) == (b"", "snapshot", "unfit")
