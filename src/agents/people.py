"""Who of a room's participants is a person, and whom the API says that they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from livekit import rtc

from src.swarm.shapes.bounds import ID_CHARACTERS, ID_LENGTH

_NO_ID = re.compile(f"[^{ID_CHARACTERS}]")
_PEOPLE = (
    rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
    rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
    rtc.ParticipantKind.PARTICIPANT_KIND_CONNECTOR,
)


def is_person(participant: rtc.RemoteParticipant) -> bool:
    """Say whether this is a person, and no bot, recorder or stream from elsewhere."""
    return participant.kind in _PEOPLE


def people_in(room: rtc.Room) -> Mapping[str, rtc.RemoteParticipant]:
    """Return the people of a room, by who they are as members of its conversation."""
    found = room.remote_participants.values()
    return {member_of(one.identity): one for one in found if is_person(one)}


def member_of(identity: str) -> str:
    """Return an identity as the id of a member, which takes not every character.

    LiveKit calls who telephones `sip_+15105550100`.
    """
    return _NO_ID.sub("_", identity)[:ID_LENGTH]


def find_person(room: rtc.Room, identity: str) -> rtc.RemoteParticipant | None:
    """Return the person of this identity; None: nobody, or no person."""
    one = room.remote_participants.get(identity)
    return one if one is not None and is_person(one) else None


def user_of(person: rtc.RemoteParticipant) -> str | None:
    """Return the user that the token endpoint wrote into a participant's metadata."""
    return named_in(person.metadata, "user_id")


def named_in(metadata: str | None, name: str) -> str | None:
    """Return a text of a JSON object; None: there is none, or it is no such object."""
    try:
        given = json.loads(metadata or "{}")
    except ValueError:
        return None
    value = given.get(name) if isinstance(given, dict) else None
    return value if isinstance(value, str) and value else None
