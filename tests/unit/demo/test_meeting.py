"""What is played: the built-in dialogue and transcripts from files."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from src.demo.errors import BadMeeting
from src.demo.meeting import BOTS, BUILT_IN, bot_body, load_meeting, person_id
from src.swarm.configs.bots import decode_bot


def write(folder: Path, content: object) -> Path:
    file = folder / "meeting.json"
    file.write_text(json.dumps(content))
    return file


def test_a_transcript_is_read_with_its_speakers_as_people(tmp_path: Path) -> None:
    turns = [{"speaker": "Grad C", "text": "Nice ."}, {"speaker": "Prof. É", "text": "OK ."}]
    meeting = load_meeting(write(tmp_path, {"meeting": "Bed003", "topics": ["x"], "turns": turns}))
    assert [turn.text for turn in meeting.turns] == ["Nice .", "OK ."]
    assert meeting.people == {"grad-c": "Grad C", "prof": "Prof. É"}


def test_first_cuts_a_meeting_and_its_people() -> None:
    assert list(BUILT_IN.first(1).people) == ["zoe"]
    assert len(BUILT_IN.first(10_000).turns) == len(BUILT_IN.turns)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"turns": [{"speaker": "A", "text": "x"}]}, "meeting"),
        ({"meeting": "m", "turns": []}, "turns"),
        ({"meeting": "m", "turns": [{"speaker": "A"}]}, "text"),
        ({"meeting": "m", "turns": [{"speaker": "A", "text": ""}]}, "text"),
        (["no object"], "object"),
    ],
)
def test_what_is_no_meeting_is_named(tmp_path: Path, content: object, named: str) -> None:
    with pytest.raises(BadMeeting, match=named) as caught:
        load_meeting(write(tmp_path, content))
    assert "meeting.json" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadMeeting, match=r"nowhere\.json cannot be read"):
        load_meeting(tmp_path / "nowhere.json")


def test_more_speakers_than_a_conversation_takes_are_refused(tmp_path: Path) -> None:
    turns = [{"speaker": f"S{number}", "text": "x"} for number in range(191)]
    with pytest.raises(BadMeeting, match="191 speakers"):
        load_meeting(write(tmp_path, {"meeting": "m", "turns": turns}))


@pytest.mark.parametrize(
    ("speaker", "expected"), [("Grad C", "grad-c"), ("", "speaker"), ("é", "speaker")]
)
def test_every_speaker_gets_an_id(speaker: str, expected: str) -> None:
    assert person_id(speaker) == expected


@pytest.mark.parametrize("bot", BOTS)
def test_the_bots_are_accepted_as_a_client_sends_them(bot: str) -> None:
    body = bot_body(bot)
    del body["id"]
    assert decode_bot(msgspec.json.encode(body)).name == BOTS[bot]["name"]
