"""Who may enter a room as whom: the rules that no role template can express."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from src.api.auth.principals import Role
from src.api.errors import Forbidden, Unauthorized
from src.api.livekit.admissions import Part, Wanted, admitted, check_change, check_send, guest
from src.state.records.rooms import Room
from src.swarm.shapes.models import Participant
from tests.unit.api.given import AT, caller, conversation

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ROOM = Room(
    id="r-1",
    name="Algebra",
    conversation_id="c-1",
    open=False,
    version=1,
    created_by="zoe",
    created_at=NOW,
    updated_at=NOW,
    deleted=False,
    sid="RM_1",
    began=1,
    over=False,
    agent="",
    swarm=False,
    dispatch_id=None,
)


@pytest.mark.parametrize(
    ("who", "roles", "part"),
    [
        ("carl", (), Part.HOST),
        ("zoe", (), Part.HOST),
        ("yan", (), Part.SPEAKER),
        ("yan", (Role.MEMBER, Role.VIEWER), Part.SPEAKER),
        ("vic", (Role.VIEWER,), Part.LISTENER),
        # Who made it may administer it only as long as it may speak there.
        ("zoe", (Role.VIEWER,), Part.LISTENER),
        ("root", (Role.ADMIN,), Part.HOST),
        ("worker", (Role.SERVICE,), Part.SPEAKER),
    ],
)
def test_who_made_it_hosts_who_belongs_speaks_who_reads_listens(
    who: str, roles: tuple[Role, ...], part: Part
) -> None:
    assert admitted(caller(who, *roles), conversation(), ROOM, Wanted()).part is part


def test_a_member_is_in_the_room_who_it_is_in_the_conversation() -> None:
    found = admitted(caller("yan"), conversation(), ROOM, Wanted())

    assert (found.identity, found.user_id, found.name) == ("p-2", "yan", "Yan")


def test_a_user_whose_id_is_anothers_participant_enters_as_its_own_one() -> None:
    theirs = Participant(id="yan", kind="person", name="Bob", joined_at=AT, user_id="bob")
    state = conversation()
    state = replace(state, participants=(*state.participants, theirs))
    found = admitted(caller("yan"), state, ROOM, Wanted(identity="yan"))

    assert (found.identity, found.user_id) == ("p-2", "yan")


@pytest.mark.parametrize("id", ["bot-ada", "swarm-1"])
def test_a_user_whose_id_is_a_bots_does_not_enter_as_that(id: str) -> None:
    with pytest.raises(Forbidden, match="is a bot's"):
        admitted(caller(id, Role.ADMIN), conversation(), ROOM, Wanted())


@pytest.mark.parametrize("room", [None, ROOM, replace(ROOM, open=True, deleted=True)])
def test_a_guest_learns_of_no_room_that_is_not_open(room: Room | None) -> None:
    with pytest.raises(Unauthorized, match="open rooms only"):
        guest(room, Wanted(), "7")


def test_a_guest_is_nobody_else() -> None:
    found = guest(replace(ROOM, open=True), Wanted(name="Gus"), "7")

    assert (found.identity, found.user_id, found.name) == ("guest-7", "guest-7", "Gus")
    assert found.part is Part.SPEAKER


@pytest.mark.parametrize(
    ("who", "roles", "changes", "sends"),
    [
        ("carl", (), True, True),
        ("zoe", (), True, True),
        ("yan", (), False, True),
        ("eve", (), False, False),
        ("vic", (Role.VIEWER,), False, False),
        ("worker", (Role.SERVICE,), True, True),
    ],
)
def test_makers_change_a_room_and_speakers_send_for_the_swarm(
    who: str, roles: tuple[Role, ...], changes: bool, sends: bool
) -> None:
    someone, state = caller(who, *roles), conversation()

    def is_allowed(check: object, *given: object) -> bool:
        try:
            check(*given)  # type: ignore[operator]  # either of the two below
        except Forbidden:
            return False
        return True

    assert is_allowed(check_change, someone, state, ROOM) is changes
    assert is_allowed(check_send, someone, state) is sends
