"""Who may speak, rule by rule and in their order."""

from __future__ import annotations

from typing import Any

import pytest

from src.swarm.configs.bots import BotConfig
from src.swarm.dialogue import floor
from src.swarm.dialogue.floor import Floor, Verdict
from src.swarm.shapes.commands import (
    PassBaton,
    PostMessage,
    SetParticipantState,
    Speaker,
    UpdateParticipant,
)
from src.swarm.shapes.config import Config, ResponderRules
from tests.unit.swarm.given import Story

QUIET = Floor()


def capped(cap: int) -> Story:
    return Story(Config(responder=ResponderRules(loop_cap=cap)))


def test_a_bot_may_speak_when_nothing_is_against_it() -> None:
    assert floor.ask(QUIET, Story().state, "scout") == Verdict(True, "free")


@pytest.mark.parametrize("who", ["stranger", "ada"])
def test_who_is_no_bot_of_the_conversation_may_not(who: str) -> None:
    assert floor.ask(QUIET, Story().state, who) == Verdict(False, "not_a_member")


def test_a_bot_that_has_left_is_no_member() -> None:
    story = Story()
    story.tell(SetParticipantState("scout", "left"))

    assert floor.ask(QUIET, story.state, "scout").reason == "not_a_member"


@pytest.mark.parametrize("state", ["muted", "disabled", "unavailable"])
def test_a_bot_that_has_to_be_silent_is_muted(state: Any) -> None:
    story = Story()
    story.tell(SetParticipantState("scout", state))

    assert floor.ask(QUIET, story.state, "scout") == Verdict(False, "muted")


def test_mode_and_config_mute_too() -> None:
    story = Story()
    muted = BotConfig("Scout", mode="muted")
    assert floor.ask(QUIET, story.state, "scout", muted).reason == "muted"

    story.tell(UpdateParticipant("scout", mode="muted"))

    assert floor.ask(QUIET, story.state, "scout").reason == "muted"


def test_people_come_first() -> None:
    speaking, _ = floor.person_starts(QUIET, "ada")

    assert floor.ask(speaking, Story().state, "scout") == Verdict(False, "person_speaking")
    silent = floor.person_stops(speaking, "ada")
    assert floor.ask(silent, Story().state, "scout").granted


def test_the_floor_is_free_when_the_last_of_the_people_stops() -> None:
    speaking, _ = floor.person_starts(floor.person_starts(QUIET, "ada")[0], "ben")
    speaking, _ = floor.person_starts(speaking, "ben")

    speaking = floor.person_stops(speaking, "ben")

    assert speaking.people == ("ada",)
    assert floor.ask(speaking, Story().state, "scout").reason == "person_speaking"


def test_a_person_interrupts_the_bot_that_has_the_floor() -> None:
    held = floor.grant(QUIET, "scout")

    speaking, interrupted = floor.person_starts(held, "ada")

    assert interrupted == "scout"
    assert speaking == Floor(None, ("ada",))
    assert floor.person_starts(speaking, "ben")[1] is None


def test_bots_stop_after_as_many_turns_in_a_row_as_the_cap_says() -> None:
    story = capped(3)
    story.says("ada")

    for bot in ("scout", "tutor", "scout"):
        assert floor.ask(QUIET, story.state, bot).granted
        story.says(bot)

    assert floor.ask(QUIET, story.state, "critic") == Verdict(False, "loop_cap")


def test_a_persons_turn_frees_the_bots_again_and_the_systems_does_not() -> None:
    story = capped(1)
    story.says("ada")
    story.says("scout")

    story.tell(PostMessage(Speaker("system", "clock"), "Tick."))
    assert floor.loop_cap_reached(story.state)

    story.says("ben")
    assert not floor.loop_cap_reached(story.state)


def test_bots_may_begin_a_conversation() -> None:
    story = capped(2)
    assert not floor.loop_cap_reached(story.state)
    story.says("scout")
    assert not floor.loop_cap_reached(story.state)


def test_turns_so_long_that_the_window_forgets_do_not_defeat_the_cap() -> None:
    story = capped(20)
    story.says("ada")

    for _ in range(6):
        story.says("scout", "x" * 32_000)

    assert len(story.state.messages) < 6
    assert floor.loop_cap_reached(story.state)


def test_a_window_full_of_the_systems_turns_does_not_silence_the_bots() -> None:
    story = capped(1)

    for _ in range(51):
        story.tell(PostMessage(Speaker("system", "clock"), "Tick."))

    assert not floor.loop_cap_reached(story.state)


def test_a_hand_off_reserves_the_floor_until_its_target_has_spoken() -> None:
    story = Story()
    story.tell(PassBaton("tutor"))

    assert floor.ask(QUIET, story.state, "scout") == Verdict(False, "reserved")
    assert floor.ask(QUIET, story.state, "tutor") == Verdict(True, "free")
    story.says("tutor")
    assert floor.ask(QUIET, story.state, "scout") == Verdict(True, "free")


def test_a_hand_off_to_a_bot_that_can_not_speak_reserves_nothing() -> None:
    story = Story()
    story.tell(PassBaton("tutor"))
    story.tell(SetParticipantState("tutor", "unavailable"))

    assert floor.ask(QUIET, story.state, "scout").granted


def test_one_voice_speaks_at_a_time() -> None:
    held = floor.grant(QUIET, "scout")

    assert floor.ask(held, Story().state, "tutor") == Verdict(False, "held")
    assert floor.ask(held, Story().state, "scout") == Verdict(True, "free")


def test_only_the_holder_gives_the_floor_back() -> None:
    held = floor.grant(QUIET, "scout")

    assert floor.release(held, "tutor") == held
    assert floor.release(held, "scout") == QUIET


def test_of_several_reasons_the_first_in_order_is_given() -> None:
    story = capped(1)
    story.says("critic")
    story.tell(PassBaton("tutor"))
    busy = Floor("tutor", ("ada",))

    assert floor.ask(busy, story.state, "stranger").reason == "not_a_member"
    assert floor.ask(busy, story.state, "scout").reason == "person_speaking"
    assert floor.ask(Floor("tutor"), story.state, "scout").reason == "loop_cap"
    story.says("ada")
    assert floor.ask(Floor("tutor"), story.state, "scout").reason == "reserved"
    story.says("tutor")
    story.says("ada")
    assert floor.ask(Floor("tutor"), story.state, "scout").reason == "held"
    story.tell(SetParticipantState("scout", "muted"))
    assert floor.ask(busy, story.state, "scout").reason == "muted"
