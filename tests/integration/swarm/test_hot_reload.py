"""Edits made on one server, obeyed in the conversations that another one runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from src.invalidation.publisher import Announcer
from src.state.errors import SharedTierUnavailable
from src.state.models import Announcement
from src.swarm.shapes.commands import ChangeStatus, Create, NewParticipant
from src.swarm.shapes.config import Config
from tests.support.cluster_runtimes import Member, open_members
from tests.support.cluster_settings import eventually

Pair = Sequence[Member]


def scout(says: str) -> bytes:
    """A bot that answers with the same words each time."""
    return msgspec.json.encode(
        {"name": "Scout", "providers": {"options": {"llm": {"default": says}}}}
    )


@pytest.fixture
async def pair(database_url: str, redis_url: str) -> AsyncIterator[Pair]:
    """Two servers; the first runs the conversation "c" of ada, scout and tutor."""
    async with open_members(database_url, redis_url, flush_debounce=0.4) as [a, b]:
        await a.service.configs.create("bot", "scout", scout("One."), "ada")
        new = Create(
            "c",
            config=Config(team_id="crew"),
            participants=(
                NewParticipant("ada", "person", "Ada"),
                NewParticipant("scout", "bot", "Scout"),
                NewParticipant("tutor", "bot", "Tutor"),
            ),
        )
        await a.service.submit_here("c", new, key="create", actor="ada", create=True)
        await a.service.submit_here("c", ChangeStatus("start"), key="start", actor="ada")
        yield a, b


async def answered(member: Member, text: str) -> tuple[str, str, int | None]:
    """Say something; return who answered what, by which version of its config."""
    receipt = await member.say("c", text)

    async def is_there() -> bool:
        state = (await member.read("c", at_least=receipt.version)).entry.state
        return state.messages[-1].author.kind == "bot"

    await eventually(is_there, within_s=5.0, what=f"an answer to {text}")
    last = (await member.read("c")).entry.state.messages[-1]
    return last.author.id, last.text, last.config_version


async def applies(member: Member, bot: str, version: int) -> None:
    """Wait until the conversation says that the bot runs with this version."""

    async def applied() -> bool:
        known = (await member.read("c")).entry.state.participant(bot)
        return known is not None and known.config_version == version

    await eventually(applied, within_s=5.0, what=f"{bot} at version {version}")


async def test_bot_edited_elsewhere_is_another_one_at_the_next_reply(pair: Pair) -> None:
    a, b = pair
    assert await answered(a, "hello") == ("scout", "One.", 1)
    await b.service.configs.replace("bot", "scout", scout("Two."), "ada", 1)
    # Reported by the owner though nobody speaks, and seen on every server.
    await applies(b, "scout", 2)
    assert await answered(a, "and now?") == ("scout", "Two.", 2)


async def test_edit_of_a_server_that_died_between_commit_and_announcement_is_obeyed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair
    assert await answered(a, "hello") == ("scout", "One.", 1)

    publish = Announcer.publish

    async def die(self: Announcer, changes: Sequence[Announcement]) -> None:
        if any(change.kind == "bot" for change in changes):
            raise SharedTierUnavailable("killed here")
        await publish(self, changes)

    monkeypatch.setattr(Announcer, "publish", die)
    await b.service.configs.replace("bot", "scout", scout("Two."), "ada", 1)
    await applies(a, "scout", 2)
    assert await answered(a, "and now?") == ("scout", "Two.", 2)


async def test_team_and_settings_edited_elsewhere_decide_who_answers_next(pair: Pair) -> None:
    a, b = pair
    assert (await answered(a, "one"))[0] == "scout"

    async def obeys(default_bot: str) -> bool:
        state = (await a.read("c")).entry.state
        above = await a.service.in_force.inherited(state)
        return bool(above) and above[-1].responder.default_bot == default_bot

    setting = b'{"value": {"default_bot": "tutor"}}'
    await b.service.configs.create("setting", "responder", setting, "ada")
    await eventually(lambda: obeys("tutor"))
    assert (await answered(a, "two"))[0] == "tutor"

    team = b'{"name": "Crew", "defaults": {"responder": {"default_bot": "scout"}}}'
    await b.service.configs.create("team", "crew", team, "ada")
    await eventually(lambda: obeys("scout"))
    assert (await answered(a, "three"))[0] == "scout"
    await b.service.configs.delete("team", "crew", "ada")
    await eventually(lambda: obeys("tutor"))
    assert (await answered(a, "four"))[0] == "tutor"
