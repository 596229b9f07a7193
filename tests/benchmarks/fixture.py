"""Conversations of about 8 KB of JSON, as the commands that make them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from msgspec import Raw

from src.swarm.shapes.commands import Command, Create, NewParticipant, PostMessage, Speaker
from src.swarm.shapes.config import Config, Policy
from src.swarm.shapes.models import Tool
from src.swarm.shapes.work import Assignment

_TEXT = """
the a we you they bot room voice agent speaks next please summary turn plan meeting customer
order ticket price schedule tomorrow yesterday today maybe shipping refund account number
confirm address delivery status late hello thanks sure agree because however question answer
check database result tool call weather flight hotel booking seat window aisle translate
listen mute join leave host moderator topic agenda item first second third minutes action
owner deadline budget report chart percent growth market team lead design review release
test
"""
_WORDS = _TEXT.split()

PERSON = "person-1"
BOTS = ("ada", "grace", "edsger")


def words(chance: random.Random, count: int) -> str:
    """Return that many words as a sentence."""
    return " ".join(chance.choice(_WORDS) for _ in range(count)).capitalize() + "."


def create(name: str) -> Create:
    """Begin a conversation of five members, eight tools and a filled blackboard: about 5 KB."""
    chance = random.Random(name)
    people = [
        NewParticipant(PERSON, "person", "Uli"),
        NewParticipant("person-2", "person", "Kim"),
        *(NewParticipant(bot, "bot", bot.title(), role="speaker") for bot in BOTS),
    ]
    return Create(
        name,
        config=Config(goal=words(chance, 60), policy=Policy("restricted")),
        participants=tuple(people),
        available_tools=tuple(_tool(chance, number) for number in range(8)),
        blackboard=tuple(
            Assignment(f"note-{n}", Raw(f'"{words(chance, 12)}"'.encode())) for n in range(4)
        ),
    )


def _tool(chance: random.Random, number: int) -> Tool:
    schema = (
        '{"type":"object","properties":{"query":{"type":"string","description":"%s"},'
        '"limit":{"type":"integer","minimum":1,"maximum":50}},"required":["query"]}'
    )
    return Tool(
        f"tool_{chance.choice(_WORDS)}_{number}",
        words(chance, 10),
        input_schema=Raw((schema % words(chance, 4)).encode()),
    )


def turn(chance: random.Random) -> PostMessage:
    """Return what a person says in one turn: 14 words."""
    return PostMessage(Speaker("person", PERSON), words(chance, 14))


def conversation(name: str, turns: int = 12) -> Iterator[Command]:
    """Give the commands of a conversation whose state is about 8 KB of JSON."""
    chance = random.Random(f"{name} speaks")
    yield create(name)
    for _ in range(turns):
        yield turn(chance)
