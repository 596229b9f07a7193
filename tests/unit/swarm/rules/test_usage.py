"""What is counted, for whom, and that nothing is lost by counting."""

from __future__ import annotations

import pytest

from src.swarm.rules.transitions import fold
from src.swarm.shapes.commands import Command, CountUsage, PostMessage, RemoveParticipant, Speaker
from src.swarm.shapes.events import UsageCounted
from tests.unit.swarm.given import Story


def test_usage_adds_up_in_all_and_per_bot() -> None:
    story = Story()

    story.tell(CountUsage(tool_calls=1, credits=10, bot="scout"))
    story.tell(CountUsage(tool_calls=2, credits=5, bot="tutor"))
    story.tell(CountUsage(tool_calls=1, credits=1, bot="scout"))
    story.tell(CountUsage(credits=100))

    stats = story.state.stats
    assert (stats.tool_calls, stats.credits) == (4, 116)
    assert [(bot.bot, bot.tool_calls, bot.credits) for bot in stats.bots] == [
        ("scout", 2, 11),
        ("tutor", 2, 5),
    ]


@pytest.mark.parametrize(
    ("end", "left"),
    [
        (PostMessage(Speaker("bot", "scout"), "Done."), {"tutor": 5}),
        (PostMessage(Speaker("person", "ada"), "Next."), {}),
        (CountUsage(bot="scout", cycle_ended=True), {"tutor": 5}),
        (PostMessage(Speaker("system", "clock"), "Noon."), {"scout": 10, "tutor": 5}),
    ],
)
def test_a_response_ends_with_its_turn_a_persons_or_its_cycle(
    end: Command, left: dict[str, int]
) -> None:
    story = Story()
    story.tell(CountUsage(tool_calls=1, credits=10, bot="scout"))
    story.tell(CountUsage(tool_calls=2, credits=5, bot="tutor"))

    story.tell(end)

    bots = story.state.stats.bots
    assert {bot.bot: bot.response_credits for bot in bots if bot.response_credits} == left
    assert {bot.bot for bot in bots if bot.response_tool_calls} == left.keys()


def test_the_end_of_a_cycle_is_noted() -> None:
    story = Story()

    story.tell(CountUsage(cycle_ended=True))

    assert story.state.stats.last_cycle_ended_at == story.at


def test_counting_nothing_is_no_event() -> None:
    assert Story().tell(CountUsage(bot="scout")) == ()


def test_what_is_spent_counts_even_beyond_every_limit() -> None:
    story = Story()

    story.tell(CountUsage(credits=10**12))

    assert story.state.stats.credits == 10**12


def test_a_count_that_is_logged_after_its_bot_has_gone_still_reaches_the_total() -> None:
    story = Story()
    story.tell(RemoveParticipant("scout"))
    meta = story.log[-1][1]

    state = fold(story.state, UsageCounted(credits=7, bot="scout"), meta)

    assert (state.stats.credits, state.stats.bots) == (7, ())
