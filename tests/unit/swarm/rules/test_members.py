"""Joining, leaving, states, applied config versions, and the baton."""

from __future__ import annotations

import pytest

from src.state.errors import Refused
from src.swarm.shapes import bounds
from src.swarm.shapes.commands import (
    AddParticipant,
    Command,
    CountUsage,
    NewParticipant,
    PassBaton,
    RemoveParticipant,
    ReportConfigVersion,
    SetParticipantState,
    UpdateParticipant,
)
from src.swarm.shapes.events import ParticipantStateChanged
from src.swarm.shapes.models import Baton, Participant
from tests.unit.swarm.given import START, Story, raw

ZOE = NewParticipant("zoe", "person", "Zoe", role="host", priority=2, user_id="u-1")


def refusal(story: Story, command: Command) -> tuple[str, str | None]:
    with pytest.raises(Refused) as refused:
        story.tell(command)
    return refused.value.code, refused.value.field


def test_a_member_joins_at_the_time_of_the_command() -> None:
    story = Story()

    story.tell(AddParticipant(ZOE))

    assert story.state.participants[-1] == Participant(
        "zoe", "person", "Zoe", story.at, role="host", priority=2, user_id="u-1"
    )


def test_a_member_joins_once() -> None:
    assert refusal(Story(), AddParticipant(NewParticipant("ada", "person", "Ada"))) == (
        "exists",
        "participant.id",
    )


def test_a_member_that_had_left_comes_back_under_its_id() -> None:
    story = Story()
    story.tell(ReportConfigVersion("scout", 4))
    story.tell(SetParticipantState("scout", "left"))

    story.tell(AddParticipant(NewParticipant("scout", "bot", "Scout the Second")))

    back = story.state.participant("scout")
    assert back is not None
    assert (back.name, back.state, back.config_version) == ("Scout the Second", "ready", 4)
    assert len(story.state.participants) == 5


def test_there_is_an_end_to_the_members() -> None:
    crowd = tuple(NewParticipant(f"p-{n}", "person", "P") for n in range(bounds.PARTICIPANTS))
    story = Story(members=crowd)

    assert refusal(story, AddParticipant(ZOE)) == ("too_many", "participant")


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    story = Story()
    before = story.state.participants

    story.tell(UpdateParticipant("tutor", role="teacher", mode="addressed_only", tracks=raw({})))

    assert story.state.participants[3] == Participant(
        "tutor", "bot", "Tutor", START, role="teacher", mode="addressed_only"
    )
    assert story.state.participants[:3] == before[:3]


def test_an_update_to_the_same_changes_nothing() -> None:
    assert Story().tell(UpdateParticipant("tutor", name="Tutor")) == ()


def test_a_removed_bot_takes_its_statistics_but_not_the_totals() -> None:
    story = Story()
    story.says("scout", "One two.")

    story.tell(RemoveParticipant("scout"))

    assert story.state.participant("scout") is None
    assert story.state.stats.bots == ()
    assert story.state.stats.words == 2


def test_nobody_inherits_the_baton_of_a_removed_bot() -> None:
    story = Story()
    story.tell(PassBaton("scout"))

    story.tell(RemoveParticipant("scout"))

    assert story.state.baton is not None
    assert story.state.baton.holder == "scout"


def test_a_state_is_set_and_setting_it_again_changes_nothing() -> None:
    story = Story()

    assert story.tell(SetParticipantState("ada", "busy")) == (
        ParticipantStateChanged("ada", "busy"),
    )
    assert story.tell(SetParticipantState("ada", "busy")) == ()
    assert story.state.participants[0].state == "busy"


def test_a_bot_reports_the_version_it_runs_with() -> None:
    story = Story()

    story.tell(ReportConfigVersion("scout", 7))

    assert story.state.participants[2].config_version == 7
    assert story.tell(ReportConfigVersion("scout", 7)) == ()


def test_the_baton_says_who_passed_it_to_whom_and_when() -> None:
    story = Story()

    story.tell(PassBaton("scout"), actor="tutor")

    assert story.state.baton == Baton("scout", "tutor", story.at, taken=False)


def test_the_baton_can_be_put_down() -> None:
    story = Story()
    story.tell(PassBaton("scout"))

    story.tell(PassBaton(None))

    assert story.state.baton is None
    assert story.tell(PassBaton(None)) == ()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (UpdateParticipant("zoe", name="Z"), ("not_a_participant", "id")),
        (RemoveParticipant("zoe"), ("not_a_participant", "id")),
        (SetParticipantState("zoe", "busy"), ("not_a_participant", "id")),
        (ReportConfigVersion("zoe", 1), ("not_a_participant", "bot")),
        (ReportConfigVersion("ada", 1), ("wrong_kind", "bot")),
        (PassBaton("zoe"), ("not_a_participant", "to")),
        (PassBaton("ada"), ("wrong_kind", "to")),
        (CountUsage(1, bot="ada"), ("wrong_kind", "bot")),
    ],
)
def test_only_members_of_the_right_kind_can_be_named(
    command: Command, expected: tuple[str, str]
) -> None:
    assert refusal(Story(), command) == expected
