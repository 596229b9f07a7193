"""The runner keeps what is finished, says what failed, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.prove import runner
from tests.prove.act import Act, Result
from tests.prove.rehearsal import ACTS, COMMAND
from tests.prove.shelf import Record, Shelf, tree_of
from tests.support.cluster_settings import eventually
from tests.support.embedding import alive

BY_NAME = {act.name: act for act in ACTS}


class Notes:
    """What a watcher is told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.lines: list[str] = []
        self.unplayed: list[str] = []

    def began(self, act: Act) -> None:
        self.begun.append(act.name)

    def told(self, act: Act, text: str) -> None:
        self.lines.append(text)

    def ended(self, act: Act, record: Record | None) -> None:
        if record is None:
            self.unplayed.append(act.name)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(runner, "COMMAND", COMMAND)
    return Shelf(tmp_path / "shelf")


async def play(shelf: Shelf, *names: str, jobs: int = 2) -> Notes:
    notes = Notes()
    acts = [BY_NAME[name] for name in names]
    await runner.play(acts, tree_of(), shelf, notes, jobs=jobs)
    return notes


def outcome(shelf: Shelf, name: str) -> Record:
    found = shelf.get(name, tree_of())
    assert found is not None
    return found


async def test_an_act_that_kept_every_promise_is_on_the_shelf_with_all_it_counted(
    shelf: Shelf,
) -> None:
    notes = await play(shelf, "keeps")
    record = outcome(shelf, "keeps")
    assert (record.outcome, record.why) == ("kept", "")
    assert record.result.counts == {"acked_turns": 7, "kill_owner": 1}
    assert {"commit", "Python", "PostgreSQL", "Redis"} == record.versions.keys()
    assert notes.lines == ["all is well"]


async def test_an_act_that_fails_in_any_way_is_on_the_shelf_with_the_reason(shelf: Shelf) -> None:
    await play(shelf, "breaks", "fails", "dies")
    reasons = {name: outcome(shelf, name) for name in ("breaks", "fails", "dies")}
    assert {name: (record.outcome, record.why) for name, record in reasons.items()} == {
        "breaks": ("broken", "room-1: a turn is lost (and 1 more)"),
        "fails": ("failed", "ConnectionError: no database here"),
        "dies": ("failed", "the act's process ended with exit code 9"),
    }
    assert "the last words" in reasons["dies"].error
    assert (shelf.folder / "dies.evidence" / runner.LOG).read_text() == "the last words\n"


async def test_what_failed_before_stays_on_record_when_the_act_is_played_again(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REHEARSAL", str(tmp_path))
    await play(shelf, "blossoms-late")
    await play(shelf, "blossoms-late")
    record = outcome(shelf, "blossoms-late")
    assert record.outcome == "kept"
    assert record.earlier == ["ConnectionError: not yet"]


@pytest.mark.parametrize("name", ["waits", "waits-for-ever"])
async def test_a_run_that_is_cancelled_keeps_what_is_finished_and_leaves_no_process(
    shelf: Shelf, name: str
) -> None:
    notes = Notes()
    acts = [BY_NAME[name], BY_NAME["keeps"]]
    playing = asyncio.create_task(runner.play(acts, tree_of(), shelf, notes, jobs=2))
    await eventually(
        lambda: len(notes.lines) == 2 and shelf.get("keeps", tree_of()) is not None, 30
    )
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    pid = next(int(line.split()[-1]) for line in notes.lines if line.startswith("waits in"))
    assert not alive(pid)
    assert notes.unplayed == [name]
    assert shelf.get(name, tree_of()) is None


async def test_acts_that_measure_time_play_one_after_the_other(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REHEARSAL", str(tmp_path))
    await play(shelf, "alone-1", "alone-2", "keeps")
    told = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert [word for _, word in told] == ["begins", "ends", "begins", "ends"]
    assert told[0][0] == told[1][0]


def test_a_record_of_other_sources_counts_no_more(shelf: Shelf) -> None:
    shelf.put(Record("keeps", "good", "another tree", "kept", Result()))
    assert shelf.get("keeps", tree_of()) is None
    assert shelf.records(["keeps"], "another tree") != []


def test_the_tree_changes_with_a_source_and_not_with_a_test_of_the_runner(tmp_path: Path) -> None:
    for name in ("src/a.py", "tests/support/b.py", "tests/prove/test_c.py", "requirements.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first")
    before = tree_of(tmp_path)
    (tmp_path / "tests/prove/test_c.py").write_text("second")
    assert tree_of(tmp_path) == before
    (tmp_path / "src/a.py").write_text("second")
    assert tree_of(tmp_path) != before
