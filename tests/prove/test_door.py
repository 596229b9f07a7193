"""`make prove` chooses acts, takes up what is left, and is red when a promise is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.prove import __main__ as door
from tests.prove import report, runner, shelf
from tests.prove.rehearsal import ACTS, COMMAND


@pytest.fixture(autouse=True)
def rehearsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(door, "collect", lambda: ACTS)
    monkeypatch.setattr(door, "Shelf", lambda: shelf.Shelf(tmp_path / "shelf"))
    monkeypatch.setattr(report, "DOCUMENT", tmp_path / "proof.md")
    monkeypatch.setattr(runner, "COMMAND", COMMAND)
    monkeypatch.setenv("REHEARSAL", str(tmp_path))


def prove(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(door.main)
    return CliRunner().invoke(app, arguments)


def test_a_kept_act_is_green_and_is_not_played_twice(tmp_path: Path) -> None:
    assert prove("--only", "good").exit_code == 0
    finished = (tmp_path / "shelf" / "keeps.json").stat().st_mtime_ns
    assert prove("--only", "good").exit_code == 0
    assert (tmp_path / "shelf" / "keeps.json").stat().st_mtime_ns == finished
    assert prove("--only", "good", "--fresh").exit_code == 0
    assert (tmp_path / "shelf" / "keeps.json").stat().st_mtime_ns > finished


def test_a_broken_promise_is_red_and_stays_red_when_nothing_is_left_to_play() -> None:
    first = prove("--only", "breaks")
    second = prove("--only", "breaks")
    assert (first.exit_code, second.exit_code) == (1, 1)
    assert "room-1: a turn is lost" in second.stdout


def test_an_act_that_came_to_no_end_is_red() -> None:
    assert prove("--only", "dies").exit_code == 1


def test_failed_acts_are_played_again_on_demand_and_say_so() -> None:
    assert prove("--only", "blossoms-late").exit_code == 1
    assert prove("--only", "blossoms-late").exit_code == 1
    assert prove("--only", "blossoms-late", "--again").exit_code == 0


def test_a_report_of_a_part_is_written_on_demand_and_is_red(tmp_path: Path) -> None:
    prove("--only", "good")
    assert not (tmp_path / "proof.md").exists()
    assert prove("--report").exit_code == 1
    assert "**This run is partial.**" in (tmp_path / "proof.md").read_text()


def test_results_of_other_sources_count_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prove("--only", "good")
    monkeypatch.setattr(door, "tree_of", lambda: "another tree")
    assert "kept" not in prove("--only", "good", "--list").stdout
    assert "kept" in prove("--only", "good", "--list", "--mixed").stdout


def test_the_list_shows_what_became_of_each_act() -> None:
    prove("--only", "good")
    told = prove("--list")
    assert told.exit_code == 0
    assert all(act.name in told.stdout for act in ACTS)
    assert "kept" in told.stdout


def test_a_name_that_nothing_has_is_refused_with_those_there_are() -> None:
    told = prove("--only", "nonsense")
    assert told.exit_code == 2
    assert "good" in told.output
