"""What is said in the demonstration: the built-in dialogue, or a transcript from a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from src.demo.errors import BadMeeting

_MAX_PEOPLE = 190
"""A conversation takes 200 participants; the bots are some of them."""
_MAX_CHARACTERS = 30_000


class Turn(msgspec.Struct, frozen=True, gc=False):
    """What one person said."""

    speaker: Annotated[str, Meta(min_length=1, max_length=200)]
    text: Annotated[str, Meta(min_length=1, max_length=_MAX_CHARACTERS)]


class Meeting(msgspec.Struct, frozen=True, gc=False):
    """A transcript: `{meeting, domain, topics[], turns[{speaker, text}]}`."""

    meeting: str
    turns: Annotated[tuple[Turn, ...], Meta(min_length=1)]
    domain: str = ""
    topics: tuple[str, ...] = ()

    @property
    def people(self) -> dict[str, str]:
        """Speakers as {id: name}, in order of their first turn."""
        people: dict[str, str] = {}
        for turn in self.turns:
            people.setdefault(person_id(turn.speaker), turn.speaker)
        return people

    def first(self, turns: int) -> Meeting:
        """Return the meeting cut to so many turns."""
        return msgspec.structs.replace(self, turns=self.turns[:turns])


def person_id(speaker: str) -> str:
    """Return a speaker's id: the name in letters that an id may have."""
    return re.sub(r"[^a-z0-9]+", "-", speaker.casefold()).strip("-") or "speaker"


def load_meeting(file: Path) -> Meeting:
    """Read a transcript.

    Raises:
        BadMeeting: it cannot be read, is no transcript, or has too many speakers.
    """
    try:
        meeting = msgspec.json.decode(file.read_bytes(), type=Meeting)
    except OSError as error:
        raise BadMeeting(f"{file} cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise BadMeeting(
            f"{file} is no meeting: {error}; a meeting is "
            '{"meeting": "...", "turns": [{"speaker": "...", "text": "..."}]}'
        ) from error
    if len(meeting.people) > _MAX_PEOPLE:
        raise BadMeeting(
            f"{file} has {len(meeting.people)} speakers; {_MAX_PEOPLE} fit into one conversation"
        )
    return meeting


_ZOE, _MAX = "Zoe", "Max"
BUILT_IN = Meeting(
    "The launch",
    (
        Turn(_ZOE, "Good morning. We have an hour to plan the launch."),
        Turn(_MAX, "Ada, which date can we still make?"),
        Turn(_ZOE, "The fourth it is. Max, are you in town?"),
        Turn(_MAX, "I am. And I would like a room with daylight."),
        Turn(_ZOE, "@Ben, what does hall three cost us?"),
        Turn(_MAX, "That leaves something for the food."),
        Turn(_ZOE, "Then it is decided: hall three, on the fourth."),
        Turn(_MAX, "Do we need a second microphone?"),
        Turn(_ZOE, "Two, for the questions from the floor."),
        Turn(_MAX, "@Ben, is that still inside the budget?"),
        Turn(_ZOE, "Good. Who opens the evening?"),
        Turn(_MAX, "You do, and Ada takes the questions."),
        Turn(_ZOE, "Ada, is that a plan?"),
        Turn(_MAX, "Decided. I will send the invitations."),
        Turn(_ZOE, "@all, anything we have forgotten?"),
        Turn(_MAX, "Then thank you all. See you on the fourth."),
    ),
    "product",
    ("date", "venue", "budget"),
)

BOTS: dict[str, dict[str, object]] = {
    "ada": {
        "name": "Ada",
        "role": "planner",
        "persona": "Keeps the calendar.",
        "mode": "proactive",
        "rules": [
            {"when": ["date", "when"], "say": "The fourth is free, {speaker}."},
            {"when": ["plan", "forgotten"], "say": "A plan with {turn} turns behind it. I am in."},
            {"when": "are you there", "say": "Still here, {speaker}."},
        ],
    },
    "ben": {
        "name": "Ben",
        "role": "treasurer",
        "persona": "Counts.",
        "mode": "proactive",
        "rules": [
            {"when": ["cost", "price"], "say": "Eight hundred, and the chairs are included."},
            {"when": ["budget", "forgotten"], "say": "We are well inside the budget."},
        ],
    },
    "cleo": {
        "name": "Cleo",
        "role": "scribe",
        "persona": "Writes down what was decided.",
        "mode": "proactive",
        "rules": [
            {
                "when": ["decided", "agreed"],
                "say": "Noted, {speaker}.",
                "call": {
                    "tool": "blackboard_append",
                    "arguments": {"id": "decisions", "value": "{text}"},
                },
            },
            {"when": "forgotten", "say": "It is all on the blackboard."},
        ],
    },
}
"""Three bots that need no key and no network: each is a script in its own config."""


def bot_body(bot_id: str) -> dict[str, object]:
    """Return a bot's config as a client sends it: it answers by its rules, else keeps silent."""
    shown = {name: value for name, value in BOTS[bot_id].items() if name != "rules"}
    script = {"rules": BOTS[bot_id]["rules"], "default": ""}
    providers = {"llm": "offline/rules", "options": {"llm": script}}
    return {"id": bot_id, **shown, "providers": providers}


RESPONDER: dict[str, object] = {
    "policy": "keywords",
    "keywords": {"cleo": ["decided", "agreed"]},
    "default_bot": "cleo",
}
"""Who is named answers; what is decided goes to the scribe, and so does all the rest."""
