"""Who answers, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from src.swarm.configs.bots import BotConfig
from src.swarm.dialogue.responder import Answer, who_answers
from src.swarm.shapes.commands import (
    ChangeStatus,
    NewParticipant,
    PassBaton,
    PostMessage,
    RemoveParticipant,
    SetParticipantState,
    Speaker,
    UpdateParticipant,
)
from src.swarm.shapes.config import Config, ResponderRules
from tests.unit.swarm.given import ADA, Story, raw

ALL = ("scout", "tutor", "critic")


def answer(story: Story, who: str, text: str, **more: Any) -> Answer:
    return who_answers(story.state, story.says(who, text), **more)


def ruled(**rules: Any) -> Story:
    return Story(Config(responder=ResponderRules(**rules)))


@pytest.mark.parametrize("action", ["pause", "suspend"])
def test_nobody_answers_while_the_conversation_does_not_run(action: Any) -> None:
    story = Story()
    story.tell(ChangeStatus(action))

    assert answer(story, "ada", "@scout hello") == Answer((), "not_running")


@pytest.mark.parametrize(
    ("text", "bots"),
    [
        ("@scout, where are we?", ("scout",)),
        ("What do you think, @Tutor?", ("tutor",)),
        ("TUTOR, what do you think?", ("tutor",)),
        ("Tutor: explain.", ("tutor",)),
        ("@critic and @scout!", ("scout", "critic")),
        ("@scout @scout", ("scout",)),
    ],
)
def test_bots_that_are_named_answer(text: str, bots: tuple[str, ...]) -> None:
    assert answer(Story(), "ada", text) == Answer(bots, "named")


@pytest.mark.parametrize(
    "text", ["I saw a scout.", "Mail me at ada@scout.example", "@scouts", "all of you", "Scout"]
)
def test_a_word_that_only_looks_like_a_name_names_nobody(text: str) -> None:
    assert answer(Story(), "ada", text).reason == "default"


def test_a_longer_name_does_not_call_the_shorter_one() -> None:
    members = (
        ADA,
        NewParticipant("b-1", "bot", "Grace"),
        NewParticipant("b-10", "bot", "Grace Hopper"),
    )

    assert answer(Story(members=members), "ada", "@Grace Hopper?").bots == ("b-10",)
    assert answer(Story(members=members), "ada", "@b-10?").bots == ("b-10",)
    assert answer(Story(members=members), "ada", "@Grace?").bots == ("b-1",)


def test_bots_of_one_name_are_called_together() -> None:
    members = (ADA, NewParticipant("b-1", "bot", "Grace"), NewParticipant("b-2", "bot", "Grace"))

    assert answer(Story(members=members), "ada", "Grace, hello.") == Answer(("b-1", "b-2"), "named")


def test_a_bot_named_in_a_long_text_is_found_among_many() -> None:
    members = (ADA, *(NewParticipant(f"b-{n}", "bot", f"Bot {n}") for n in range(199)))

    text = "@ @ nobody " * 2_900 + "@bot 198"
    assert answer(Story(members=members), "ada", text) == Answer(("b-198",), "named")


def test_all_bots_answer_to_all_the_most_important_first() -> None:
    story = Story()
    story.tell(UpdateParticipant("critic", priority=5))

    assert answer(story, "ada", "@all: hello") == Answer(("critic", "scout", "tutor"), "all")


def test_a_bot_that_calls_all_does_not_call_itself() -> None:
    assert answer(Story(), "scout", "@all, @scout here") == Answer(("tutor", "critic"), "all")


def test_the_caller_may_name_bots_too() -> None:
    assert answer(Story(), "ada", "Hello.", named=("tutor",)) == Answer(("tutor",), "named")


@pytest.mark.parametrize("state", ["muted", "disabled", "unavailable", "left"])
def test_a_bot_that_is_named_but_not_there_is_not_replaced(state: Any) -> None:
    story = Story()
    story.tell(SetParticipantState("scout", state))

    assert answer(story, "ada", "@scout?") == Answer((), "named_absent")


def test_a_muted_mode_silences_a_bot_that_is_named() -> None:
    story = Story()
    story.tell(UpdateParticipant("scout", mode="muted"))

    assert answer(story, "ada", "@scout?") == Answer((), "named_absent")


def test_a_bots_own_config_can_mute_it() -> None:
    muted = {"scout": BotConfig("Scout", mode="muted")}

    assert answer(Story(), "ada", "@scout?", configs=muted) == Answer((), "named_absent")


def test_a_bot_that_was_handed_the_baton_speaks_next_after_bots_too() -> None:
    story = Story()
    story.tell(PassBaton("critic"))

    assert answer(story, "tutor", "Over to you.") == Answer(("critic",), "handed_off")
    assert answer(story, "ada", "Well?") == Answer(("critic",), "handed_off")


def test_a_name_in_the_turn_beats_the_hand_off() -> None:
    story = Story()
    story.tell(PassBaton("critic"))

    assert answer(story, "ada", "@scout?") == Answer(("scout",), "named")


def test_subscribers_of_the_turns_topic_answer() -> None:
    config = Config(event_subscriptions=raw({"swarm/+": ["tutor"], "swarm/ext/#": ["critic"]}))

    assert answer(Story(config), "ada", "Hi.") == Answer(("tutor",), "subscribed")
    assert answer(Story(config), "ada", "Hi.", topic="swarm/ext/mail") == Answer(
        ("critic",), "subscribed"
    )


def test_a_bots_own_config_can_subscribe_it() -> None:
    configs = {"critic": BotConfig("Critic", subscriptions=("swarm/user",))}

    assert answer(Story(), "ada", "Hi.", configs=configs) == Answer(("critic",), "subscribed")


def test_a_turn_of_the_system_has_a_topic_of_its_own_and_no_default_answer() -> None:
    story = Story(Config(event_subscriptions=raw({"swarm/system": ["tutor"]})))
    story.tell(PostMessage(Speaker("system", "clock"), "Ten minutes left."))
    turn = story.state.messages[-1]

    assert who_answers(story.state, turn) == Answer(("tutor",), "subscribed")
    assert who_answers(story.state, turn, topic="other") == Answer((), "bot_turn")


def test_what_a_bot_says_to_nobody_needs_no_answer() -> None:
    assert answer(Story(), "scout", "It is sunny.") == Answer((), "bot_turn")


def test_the_holder_of_the_baton_answers_people() -> None:
    story = ruled(default_bot="scout")
    story.tell(PassBaton("critic"))
    story.says("critic", "I have it.")

    assert answer(story, "ada", "And now?") == Answer(("critic",), "baton")


@pytest.mark.parametrize("taken", [True, False])
def test_nobody_steps_in_for_an_absent_holder(taken: bool) -> None:
    story = ruled(default_bot="scout", policy="round_robin")
    story.tell(PassBaton("critic"))
    if taken:
        story.says("critic", "I have it.")
    story.tell(RemoveParticipant("critic"))

    assert answer(story, "ada", "And now?") == Answer((), "holder_absent")


def test_round_robin_goes_on_after_the_bot_that_spoke_last() -> None:
    story = ruled(policy="round_robin")

    chosen: list[str] = []
    for _ in range(4):
        bots = answer(story, "ada", "Next?").bots
        chosen += bots
        story.says(bots[0], "Me.")

    assert chosen == ["scout", "tutor", "critic", "scout"]


def test_round_robin_passes_over_bots_that_only_answer_when_addressed() -> None:
    story = ruled(policy="round_robin")
    story.tell(UpdateParticipant("scout", mode="addressed_only"))

    assert answer(story, "ada", "Next?") == Answer(("tutor",), "round_robin")


def test_keywords_choose_all_bots_whose_words_were_said() -> None:
    keywords = raw({"tutor": ["photosynthesis"], "critic": ["wrong", "not true"]})
    story = ruled(policy="keywords", keywords=keywords)

    assert answer(story, "ada", "Photosynthesis is NOT  true!") == Answer(
        ("tutor", "critic"), "keywords"
    )
    assert answer(story, "ada", "Nothing is wrongly said.") == Answer(("scout",), "default")


def test_a_moderator_is_asked_first_and_never_replaced() -> None:
    story = ruled(policy="moderator", moderator="tutor")
    assert answer(story, "ada", "Well?") == Answer(("tutor",), "moderator")

    story.tell(RemoveParticipant("tutor"))

    assert answer(story, "ada", "Well?") == Answer((), "moderator_absent")


def test_the_default_bot_answers_when_no_rule_applies() -> None:
    assert answer(ruled(default_bot="critic"), "ada", "Hi.") == Answer(("critic",), "default")


def test_an_absent_default_bot_is_not_replaced() -> None:
    story = ruled(default_bot="critic")
    story.tell(UpdateParticipant("critic", mode="addressed_only"))

    assert answer(story, "ada", "Hi.") == Answer((), "default_absent")


def test_without_a_default_bot_the_most_important_one_answers() -> None:
    story = Story()
    story.tell(UpdateParticipant("tutor", priority=1))

    assert answer(story, "ada", "Hi.") == Answer(("tutor",), "default")


def test_where_there_is_no_bot_nobody_answers() -> None:
    assert answer(Story(members=(ADA,)), "ada", "Hi.") == Answer((), "no_bot")


def test_a_bot_for_addressed_turns_answers_by_name_hand_off_and_baton_only() -> None:
    story = Story()
    for bot in ALL:
        story.tell(UpdateParticipant(bot, mode="addressed_only"))

    assert answer(story, "ada", "Hi.") == Answer((), "no_bot")
    assert answer(story, "ada", "@tutor?") == Answer(("tutor",), "named")
    story.tell(PassBaton("tutor"))
    assert answer(story, "ada", "Hi.") == Answer(("tutor",), "handed_off")
    story.says("tutor")
    assert answer(story, "ada", "Hi.") == Answer(("tutor",), "baton")
