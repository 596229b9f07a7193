"""Rules: who may see and change a conversation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from src.api.auth.principals import Role
from src.api.auth.rules import check_command, check_read, may_read, speaker
from src.api.errors import Forbidden
from src.swarm.shapes.commands import (
    AddParticipant,
    ChangeStatus,
    Command,
    CountUsage,
    CutSpeech,
    Delete,
    NewParticipant,
    NoteSpeech,
    PatchConfig,
    PostMessage,
    RemoveParticipant,
    SaveTurn,
    SetTools,
    Speaker,
    UpdateParticipant,
)
from src.swarm.shapes.work import DecideToolCall, EditBlackboard, RequestToolCall
from tests.unit.api.given import caller, conversation

STATE = conversation()
PATCH = PatchConfig(msgspec.Raw(b"{}"))


@pytest.mark.parametrize("id", ["carl", "zoe", "yan", "ada"])
def test_creator_and_participants_read(id: str) -> None:
    check_read(caller(id), STATE)


def test_whose_subject_is_the_id_of_anothers_participant_is_not_that_one() -> None:
    namesake = caller("p-2")

    assert not may_read(namesake, STATE)
    for command in (EditBlackboard(), PostMessage(Speaker("person", "p-2"), "hello")):
        with pytest.raises(Forbidden):
            check_command(namesake, STATE, command)


def test_a_creator_speaks_for_no_participant_that_happens_to_have_its_id() -> None:
    state = msgspec.structs.replace(STATE, created_by="p-2")

    with pytest.raises(Forbidden, match="own name"):
        check_command(caller("p-2"), state, PostMessage(speaker(caller("p-2"), state), "hello"))


def test_other_members_and_editors_do_not_read() -> None:
    assert not may_read(caller("eve"), STATE)
    assert not may_read(caller("zoe", Role.EDITOR), STATE)
    with pytest.raises(Forbidden, match="c-1"):
        check_read(caller("eve"), STATE)


@pytest.mark.parametrize("role", [Role.ADMIN, Role.SERVICE, Role.VIEWER])
def test_some_roles_read_everything(role: Role) -> None:
    assert may_read(caller("eve", role), STATE)


@pytest.mark.parametrize("command", [EditBlackboard(), ChangeStatus("start")])
@pytest.mark.parametrize("id", ["carl", "zoe", "yan"])
def test_members_share_the_work(id: str, command: Command) -> None:
    check_command(caller(id), STATE, command)


@pytest.mark.parametrize("command", [PATCH, SetTools(()), Delete()])
def test_only_the_creator_configures_and_deletes(command: Command) -> None:
    check_command(caller("carl"), STATE, command)
    with pytest.raises(Forbidden, match="carl"):
        check_command(caller("zoe"), STATE, command)


def test_what_a_host_reports_is_taken_from_nobody_else() -> None:
    note = NoteSpeech("r:0", "p-2", "Well.", 0, datetime(2026, 1, 2, tzinfo=UTC))
    for command in (note, CutSpeech("r:0")):
        with pytest.raises(Forbidden, match="hosts"):
            check_command(caller("worker", Role.SERVICE, Role.ADMIN), STATE, command)


@pytest.mark.parametrize("command", [CountUsage(), RequestToolCall("search", "ada")])
def test_what_bots_report_needs_the_role_service(command: Command) -> None:
    check_command(caller("worker", Role.SERVICE), STATE, command)
    with pytest.raises(Forbidden, match="service"):
        check_command(caller("carl"), STATE, command)


@pytest.mark.parametrize(
    "command",
    [
        UpdateParticipant("zoe", user_id="eve"),
        AddParticipant(NewParticipant("zoe", "person", "Zoe", user_id="yan")),
        AddParticipant(NewParticipant("carl", "person", "Carl", user_id="yan")),
        AddParticipant(NewParticipant("dora", "person", "Dora", user_id="yan")),
    ],
)
def test_nobody_becomes_another_member(command: Command) -> None:
    with pytest.raises(Forbidden, match="user_id"):
        check_command(caller("yan"), STATE, command)
    check_command(caller("worker", Role.SERVICE), STATE, command)


def test_members_bring_others_in() -> None:
    for new in (
        NewParticipant("dora", "person", "Dora"),
        NewParticipant("eve", "bot", "Eve"),
        NewParticipant("zoe", "person", "Zoe"),
    ):
        check_command(caller("yan"), STATE, AddParticipant(new))


def test_only_the_creator_gives_a_person_another_id_than_its_own() -> None:
    """Else who is added under the id of somebody who was removed would seem to be that one."""
    gone = msgspec.structs.replace(STATE, participants=STATE.participants[:1])
    new = AddParticipant(NewParticipant("p-2", "person", "Yan", user_id="dora"))

    with pytest.raises(Forbidden, match="user_id"):
        check_command(caller("zoe"), gone, new)
    check_command(caller("carl"), gone, new)
    check_command(caller("worker", Role.SERVICE), gone, new)


@pytest.mark.parametrize("id", ["zoe", "p-2", "ada"])
def test_another_ones_name_is_the_creators_to_change(id: str) -> None:
    rename = UpdateParticipant(id, name="Somebody")
    for allowed in (caller("carl"), caller("worker", Role.SERVICE), caller("root", Role.ADMIN)):
        check_command(allowed, STATE, rename)
    others = {"zoe": "yan", "p-2": "zoe", "ada": "zoe"}
    with pytest.raises(Forbidden, match="carl"):
        check_command(caller(others[id]), STATE, rename)


def test_members_rename_themselves_and_change_all_else_together() -> None:
    check_command(caller("zoe"), STATE, UpdateParticipant("zoe", name="Zoe Z."))
    check_command(caller("yan"), STATE, UpdateParticipant("p-2", name="Yan Y."))
    check_command(caller("yan"), STATE, UpdateParticipant("ada", name="Ada", mode="muted"))


def test_a_person_leaves_by_itself_or_by_the_creator_and_bots_by_any_member() -> None:
    for id, who in (("zoe", "zoe"), ("p-2", "yan"), ("p-2", "carl"), ("ada", "zoe")):
        check_command(caller(who), STATE, RemoveParticipant(id))
    with pytest.raises(Forbidden, match="zoe itself"):
        check_command(caller("yan"), STATE, RemoveParticipant("zoe"))


def test_who_had_left_comes_back_under_the_name_it_had() -> None:
    away = msgspec.structs.replace(STATE.participants[0], state="left")
    state = msgspec.structs.replace(STATE, participants=(away, *STATE.participants[1:]))

    check_command(caller("yan"), state, AddParticipant(NewParticipant("zoe", "person", "Zoe")))
    renamed = AddParticipant(NewParticipant("zoe", "person", "Somebody"))
    with pytest.raises(Forbidden, match="zoe itself"):
        check_command(caller("yan"), state, renamed)
    check_command(caller("zoe"), state, renamed)


def test_reading_everything_does_not_mean_writing_anywhere() -> None:
    with pytest.raises(Forbidden):
        check_command(caller("eve", Role.MEMBER, Role.VIEWER), STATE, EditBlackboard())
    with pytest.raises(Forbidden):
        check_command(caller("zoe", Role.VIEWER), STATE, EditBlackboard())


@pytest.mark.parametrize(
    ("id", "author"),
    [("zoe", Speaker("person", "zoe")), ("yan", Speaker("person", "p-2"))],
)
def test_members_speak_in_their_own_name(id: str, author: Speaker) -> None:
    check_command(caller(id), STATE, PostMessage(author, "hello"))


@pytest.mark.parametrize(
    "author",
    [
        Speaker("person", "p-2"),
        Speaker("person", "yan"),
        Speaker("bot", "ada"),
        Speaker("system", "zoe"),
    ],
)
def test_members_speak_in_no_other_name(author: Speaker) -> None:
    with pytest.raises(Forbidden, match="own name"):
        check_command(caller("zoe"), STATE, PostMessage(author, "hello"))


def test_who_is_not_among_the_participants_gives_itself_no_name() -> None:
    check_command(caller("carl"), STATE, PostMessage(Speaker("person", "carl"), "hello"))
    with pytest.raises(Forbidden, match=r"author\.name"):
        check_command(caller("carl"), STATE, PostMessage(Speaker("person", "carl", "Zoe"), "hello"))
    worker = caller("w", Role.SERVICE)
    check_command(worker, STATE, PostMessage(Speaker("person", "guest", "Guest"), "hello"))


@pytest.mark.parametrize("role", ["system", "assistant", "tool"])
def test_members_speak_as_users_only(role: Any) -> None:
    own = Speaker("person", "zoe")
    check_command(caller("zoe"), STATE, PostMessage(own, "hello", role="user"))
    with pytest.raises(Forbidden, match="role"):
        check_command(caller("zoe"), STATE, PostMessage(own, "obey", role=role))


def test_members_save_their_own_turns_only() -> None:
    check_command(caller("yan"), STATE, SaveTurn("a", "b", user_id="p-2"))
    with pytest.raises(Forbidden, match="own turns"):
        check_command(caller("yan"), STATE, SaveTurn("a", "b", user_id="zoe"))


def test_a_service_speaks_for_everybody() -> None:
    check_command(caller("w", Role.SERVICE), STATE, PostMessage(Speaker("bot", "ada"), "hello"))


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("zoe", Speaker("person", "zoe")),
        ("yan", Speaker("person", "p-2")),
        ("ada", Speaker("bot", "ada")),
        ("carl", Speaker("person", "carl")),
    ],
)
def test_a_caller_speaks_as_its_participant(id: str, expected: Speaker) -> None:
    assert speaker(caller(id), STATE) == expected


def test_members_approve_and_reject_and_time_runs_out_by_itself() -> None:
    for decision in ("approve", "reject"):
        check_command(caller("zoe"), STATE, DecideToolCall("call", decision))
    late = DecideToolCall("call", "time_out")
    check_command(caller("bot", Role.SERVICE), STATE, late)
    with pytest.raises(Forbidden, match="by itself"):
        check_command(caller("zoe"), STATE, late)
