"""Meetings to replay: the transcripts of a folder, or made-up ones of the same shape.

`SWARMSTATE_TEST_MEETINGS` names a folder of files {meeting, turns: [{speaker, text}]}.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import msgspec

FOLDER = "SWARMSTATE_TEST_MEETINGS"

_CROWDS = (4, 4, 4, 4, 4, 4, 4, 4, 5, 9, 89, 105)
"""Speakers per made-up meeting: panels of four, and two sittings of a parliament."""
_SPOKEN = (
    "well so the budget for remote {vocalsound} 's rubber buttons — Größe of it don't \"yes\" um "
    "I move that we table on , the honourable member's <question> & answer 50 % 你好 okay ."
)


class Said(msgspec.Struct, frozen=True, gc=False):
    """One turn of a meeting."""

    speaker: str
    text: str

    @property
    def words(self) -> int:
        return len(self.text.split())


class _File(msgspec.Struct, frozen=True):
    meeting: str
    turns: tuple[Said, ...]


class Meeting:
    """A transcript, its speakers as people of a conversation."""

    def __init__(self, name: str, turns: Sequence[Said]) -> None:
        self.name = re.sub(r"[^A-Za-z0-9._-]", "-", name)
        self.turns = tuple(turns)
        names = dict.fromkeys(turn.speaker for turn in self.turns)
        self.people = {name: f"person-{number}" for number, name in enumerate(names, start=1)}
        """Name in the transcript -> id of the participant."""

    @cached_property
    def words(self) -> int:
        return sum(turn.words for turn in self.turns)

    def speakers(self, turns: int | None = None) -> Counter[str]:
        """Return how many of the first `turns` turns each participant has."""
        return Counter(self.people[turn.speaker] for turn in self.turns[:turns])


def meetings(*, seed: int, words: int) -> Sequence[Meeting]:
    """Return the folder's meetings, whole; without a folder twelve of about `words` words each."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        chance = random.Random(seed)
        return [_made_up(n, crowd, words, chance) for n, crowd in enumerate(_CROWDS, start=1)]
    files = sorted(Path(folder).glob("*.json"))
    if not files:
        raise FileNotFoundError(f"{FOLDER}={folder} has no *.json; unset it to use made-up ones")
    read = [msgspec.json.decode(file.read_bytes(), type=_File) for file in files]
    return [Meeting(file.meeting, file.turns) for file in read]


def _made_up(number: int, crowd: int, words: int, chance: random.Random) -> Meeting:
    """Make a meeting in which few speak much, and bursts of short turns follow long ones."""
    names = [f"Speaker {n} of {crowd}" for n in range(1, crowd + 1)]
    weights = [1 / rank for rank in range(1, crowd + 1)]
    typical = 4.0 if crowd > 50 else 2.7
    # Everybody once, so that the crowd is as large as it says; then as it comes.
    turns = [_said(name, chance.randint(1, 6), chance) for name in names]
    left = words - sum(turn.words for turn in turns)
    while left > 0:
        length = min(400, 1 + int(chance.lognormvariate(typical, 1.0)))
        lengths = [length] + [chance.randint(1, 3) for _ in range(chance.choice((0, 0, 0, 3)))]
        for one, name in zip(lengths, chance.choices(names, weights, k=len(lengths)), strict=True):
            turns.append(_said(name, one, chance))
            left -= one
    return Meeting(f"made-up-{number}", turns)


def _said(name: str, words: int, chance: random.Random) -> Said:
    return Said(name, " ".join(chance.choices(_SPOKEN.split(), k=words)))
