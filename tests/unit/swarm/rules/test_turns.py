"""Turns: who may add one, what it becomes, and the window and statistics that follow from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from msgspec import Raw

from src.state.errors import Refused
from src.swarm.shapes import bounds
from src.swarm.shapes.commands import NewParticipant, PassBaton, PostMessage, SaveTurn, Speaker
from src.swarm.shapes.config import Config, Policy, ResponderRules
from src.swarm.shapes.models import Author, BotStats, ToolUse
from tests.unit.swarm.given import ADA, BEN, SCOUT, TUTOR, Story, raw

FROM_ADA = Speaker("person", "ada")
FROM_SCOUT = Speaker("bot", "scout")


def refusal(story: Story, command: PostMessage | SaveTurn) -> tuple[str, str | None]:
    before = story.state
    with pytest.raises(Refused) as refused:
        story.tell(command)
    assert story.state is before
    return refused.value.code, refused.value.field


def test_a_turn_gets_its_id_its_number_and_its_times_from_the_log() -> None:
    story = Story()

    story.tell(PostMessage(FROM_ADA, "Hello."))

    (message,) = story.state.messages
    assert (message.id, message.seq) == ("key-1:0", 2)
    assert message.started_at == message.ended_at == story.at


def test_a_turn_keeps_all_that_its_author_says_about_it() -> None:
    story = Story()
    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    command = PostMessage(
        FROM_SCOUT,
        "I was say",
        id="turn-7",
        role="tool",
        reply_to="turn-6",
        started_at=start,
        ended_at=start + timedelta(seconds=2),
        interrupted=True,
        spoken_until=5,
        metrics=raw({"ttft_ms": 212.5}),
        config_version=3,
        tool_calls=(ToolUse("call-1", "look", raw({"at": "sky"}), raw("blue")),),
    )

    story.tell(command)

    (message,) = story.state.messages
    for name in set(PostMessage.__struct_fields__) - {"author"}:
        assert getattr(message, name) == getattr(command, name), name
    assert message.author == Author("bot", "scout", "Scout")


@pytest.mark.parametrize(
    ("speaker", "role"),
    [
        (FROM_ADA, "user"),
        (FROM_SCOUT, "assistant"),
        (Speaker("system", "clock"), "system"),
    ],
)
def test_the_role_follows_from_the_kind_of_author(speaker: Speaker, role: str) -> None:
    story = Story()

    story.tell(PostMessage(speaker, "Hello."))

    assert story.state.messages[-1].role == role


def test_anyone_may_speak_in_an_open_conversation_without_becoming_a_member() -> None:
    story = Story()

    story.tell(PostMessage(Speaker("person", "guest", "A guest"), "Hello."))

    assert story.state.messages[-1].author == Author("person", "guest", "A guest")
    assert story.state.participant("guest") is None


@pytest.mark.parametrize(
    ("speaker", "name"),
    [
        (Speaker("system", "clock"), "clock"),
        (Speaker("system", "clock", "The clock"), "The clock"),
        (Speaker("person", "guest"), "guest"),
        (Speaker("person", "ada"), "Ada"),
        (Speaker("person", "ada", "Ada"), "Ada"),
    ],
)
def test_a_turn_keeps_the_name_that_its_author_had(speaker: Speaker, name: str) -> None:
    story = Story()

    story.tell(PostMessage(speaker, "Hello."))

    assert story.state.messages[-1].author.name == name


@pytest.mark.parametrize(
    "speaker", [Speaker("person", "ada", "Ben"), Speaker("bot", "scout", "Ada")]
)
def test_a_member_has_no_name_but_its_own(speaker: Speaker) -> None:
    assert refusal(Story(), PostMessage(speaker, "Hello.")) == ("wrong_name", "author.name")


@pytest.mark.parametrize("visibility", ["restricted", "private"])
def test_only_members_may_speak_where_it_is_not_open(visibility: str) -> None:
    policy = msgspec.convert({"visibility": visibility}, Policy)
    story = Story(Config(policy=policy))

    assert refusal(story, PostMessage(Speaker("person", "guest"), "Hello.")) == (
        "not_a_participant",
        "author.id",
    )
    story.tell(PostMessage(FROM_ADA, "Hello."))


def test_a_bot_has_to_be_a_member_even_where_it_is_open() -> None:
    assert refusal(Story(), PostMessage(Speaker("bot", "stranger"), "Hello.")) == (
        "not_a_participant",
        "author.id",
    )


def test_nobody_speaks_as_a_member_of_another_kind() -> None:
    command = PostMessage(Speaker("person", "scout"), "I am human.")

    assert refusal(Story(), command) == ("wrong_kind", "author.id")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "too_large"),
        ("nul \x00", "invalid"),
        ("half \ud83d a pair", "invalid"),
        ("x" * 65_537, "too_large"),
        ("\x01" * 20_000, "too_large"),
    ],
)
def test_a_text_that_cannot_be_kept_is_refused(text: str, code: str) -> None:
    assert refusal(Story(), PostMessage(FROM_ADA, text)) == (code, "text")


def test_a_text_of_32_768_letters_is_kept_whole() -> None:
    story = Story()
    text = "é" * 32_768

    story.tell(PostMessage(FROM_ADA, text))

    assert story.state.messages[-1].text == text


def test_a_message_id_is_taken_once() -> None:
    story = Story()
    story.tell(PostMessage(FROM_ADA, "Hello.", id="turn-1"))

    assert refusal(story, PostMessage(FROM_ADA, "Again.", id="turn-1")) == ("exists", "id")


def test_times_are_kept_in_utc() -> None:
    story = Story()
    here = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    story.tell(PostMessage(FROM_ADA, "Hello.", started_at=here, ended_at=here))

    assert story.state.messages[-1].started_at.tzinfo is UTC
    assert story.state.messages[-1].started_at == here


@pytest.mark.parametrize(
    ("started_at", "ended_at", "code"),
    [
        (None, datetime(2026, 1, 1), "invalid"),  # noqa: DTZ001  naive on purpose
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), "out_of_order"),
    ],
)
def test_impossible_times_are_refused(
    started_at: datetime | None, ended_at: datetime, code: str
) -> None:
    command = PostMessage(FROM_ADA, "Hello.", started_at=started_at, ended_at=ended_at)

    assert refusal(Story(), command) == (code, "ended_at")


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (Raw(b"{"), ("invalid", "metrics")),
        (Raw(b"[1]"), ("invalid", "metrics")),
        (Raw(b'{"a":"\xff"}'), ("invalid", "metrics")),
        (Raw(b'{"a":1e999}'), ("invalid", "metrics[...]")),
        (raw({"a": "x" * bounds.METRICS_BYTES}), ("too_large", "metrics")),
    ],
)
def test_metrics_that_are_no_small_object_are_refused(
    metrics: Raw, expected: tuple[str, str]
) -> None:
    assert refusal(Story(), PostMessage(FROM_ADA, "Hello.", metrics=metrics)) == expected


def test_tool_calls_have_a_bound_together() -> None:
    calls = tuple(ToolUse(f"call-{n}", "look", raw({"a": "x" * 10_000})) for n in range(4))

    command = PostMessage(FROM_SCOUT, "Looking.", tool_calls=calls)

    assert refusal(Story(), command) == ("too_large", "tool_calls")


def test_the_window_holds_the_last_50_turns() -> None:
    story = Story()

    for number in range(53):
        story.says("ada", f"Turn {number}.")

    assert [message.text for message in story.state.messages] == [
        f"Turn {number}." for number in range(3, 53)
    ]


def test_the_window_stays_below_its_bytes_and_always_holds_the_newest_turn() -> None:
    story = Story()

    for number in range(12):
        story.says("ada", str(number % 10) * 32_000)

    messages = story.state.messages
    assert len(messages) == 4
    assert messages[-1].text[0] == "1"
    assert story.state.window_bytes == len(msgspec.json.encode(messages)) - 1
    assert story.state.window_bytes <= bounds.WINDOW_BYTES


def test_the_statistics_count_turns_and_words_in_all_and_per_bot() -> None:
    story = Story()

    story.says("ada", "One two  three.")
    story.says("scout", "Four five.")
    story.says("scout", "Six.")

    stats = story.state.stats
    assert (stats.turns, stats.words) == (3, 6)
    assert stats.bots == (BotStats("scout", turns=2, words=3),)
    assert stats.started_at == story.state.messages[0].started_at


def test_a_baton_is_taken_by_its_holders_first_turn() -> None:
    story = Story()
    story.tell(PassBaton("tutor"))

    story.says("scout")
    assert story.state.baton is not None
    assert not story.state.baton.taken

    story.says("tutor")
    assert story.state.baton is not None
    assert story.state.baton.taken


def test_an_exchange_is_saved_as_two_turns_the_second_answering_the_first() -> None:
    story = Story()

    story.tell(SaveTurn("What is it?", "It is a bird.", user_id="ada", bot_id="scout"))

    asked, answered = story.state.messages
    assert (asked.author.id, asked.role, asked.text) == ("ada", "user", "What is it?")
    assert (answered.author.id, answered.role, answered.text) == (
        "scout",
        "assistant",
        "It is a bird.",
    )
    assert (asked.id, answered.id) == ("key-1:0", "key-1:1")
    assert answered.reply_to == asked.id


@pytest.mark.parametrize(
    ("members", "default_bot", "authors"),
    [
        ((), None, ("user", "assistant")),
        ((ADA, SCOUT), None, ("ada", "scout")),
        ((ADA, BEN, SCOUT, TUTOR), None, ("user", "assistant")),
        ((ADA, SCOUT, TUTOR), "tutor", ("ada", "tutor")),
        ((ADA, SCOUT), "tutor", ("ada", "scout")),
    ],
)
def test_an_exchange_without_ids_finds_its_authors(
    members: tuple[NewParticipant, ...], default_bot: str | None, authors: tuple[str, str]
) -> None:
    story = Story(Config(responder=ResponderRules(default_bot=default_bot)), members)

    story.tell(SaveTurn("What is it?", "It is a bird."))

    assert tuple(message.author.id for message in story.state.messages) == authors


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (SaveTurn("a\x00", "b"), "user_message"),
        (SaveTurn("a", "b\x00"), "assistant_message"),
        (SaveTurn("a", "b", bot_id="stranger"), "bot_id"),
    ],
)
def test_an_exchange_is_saved_whole_or_not_at_all(command: SaveTurn, field: str) -> None:
    assert refusal(Story(), command)[1] == field
