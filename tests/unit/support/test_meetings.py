"""Meetings to replay: a folder's files as they are, else made-up ones of the same shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.meetings import FOLDER, meetings


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)


def test_twelve_meetings_of_4_to_105_speakers_are_made_up() -> None:
    crowds = [len(meeting.people) for meeting in meetings(seed=1, words=1000)]
    assert (len(crowds), min(crowds), max(crowds)) == (12, 4, 105)


def test_made_up_meetings_are_about_as_long_as_asked() -> None:
    assert all(1000 <= meeting.words < 2000 for meeting in meetings(seed=1, words=1000))


def test_a_seed_makes_the_same_meetings_again() -> None:
    first, second, other = (meetings(seed=seed, words=300) for seed in (1, 1, 2))
    assert [meeting.turns for meeting in first] == [meeting.turns for meeting in second]
    assert [meeting.turns for meeting in first] != [meeting.turns for meeting in other]


def test_a_folder_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    for name in ("b", "a"):
        turns = [{"speaker": s, "text": f"{name} says"} for s in ("Ada", "Zoë (Chair)", "Ada")]
        file = {"meeting": f"{name} 1", "domain": "x", "topics": [], "turns": turns}
        (tmp_path / f"{name}.json").write_text(json.dumps(file))
    first, second = meetings(seed=1, words=1)
    assert (first.name, second.name) == ("a-1", "b-1")
    assert first.people == {"Ada": "person-1", "Zoë (Chair)": "person-2"}
    assert first.speakers() == {"person-1": 2, "person-2": 1}
    assert first.speakers(1) == {"person-1": 1}


def test_an_empty_folder_is_no_reason_to_make_meetings_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="unset it"):
        meetings(seed=1, words=1)
