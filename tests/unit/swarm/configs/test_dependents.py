"""From a config back to the conversations that depend on it."""

from __future__ import annotations

from msgspec import Raw
from msgspec.structs import replace

from src.swarm.configs.dependents import Dependents
from src.swarm.shapes.commands import AddParticipant, NewParticipant, PatchConfig, RemoveParticipant
from tests.unit.swarm.given import ADA, SCOUT, TUTOR, Story


def test_bots_and_the_team_lead_to_their_conversations() -> None:
    index = Dependents()
    story = Story(members=(ADA, SCOUT))
    index.note(story.state)
    index.note(replace(story.state, id="c-2"))

    assert sorted(index.of("bot", "scout")) == ["c-1", "c-2"]
    assert index.of("bot", "ada") == (), "people have no config"
    assert index.of("team", "scout") == ()
    story.tell(PatchConfig(Raw(b'{"team_id": "crew"}')))
    index.note(story.state)
    assert index.of("team", "crew") == ("c-1",)


def test_a_change_of_members_is_noted_and_what_is_gone_is_forgotten() -> None:
    index = Dependents()
    story = Story(members=(ADA, SCOUT))
    index.note(story.state)
    story.tell(AddParticipant(TUTOR))
    story.tell(RemoveParticipant("scout"))
    index.note(story.state)

    assert index.of("bot", "tutor") == ("c-1",)
    assert index.of("bot", "scout") == ()
    index.forget("c-1")
    index.forget("c-1")
    assert (index.of("bot", "tutor"), len(index)) == ((), 0)


def test_what_changes_no_member_costs_a_look() -> None:
    index = Dependents()
    story = Story(members=(ADA, SCOUT, NewParticipant("critic", "bot", "Critic")))
    index.note(story.state)
    story.says("ada")
    index.note(story.state)

    assert index.of("bot", "critic") == ("c-1",)
    assert len(index) == 1
