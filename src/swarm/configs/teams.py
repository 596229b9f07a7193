"""Teams: bots that work together, and what their conversations inherit."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from src.swarm.configs.bots import ProviderNames, accepted_providers
from src.swarm.configs.decoding import SCHEMA, Part, Schema, decoded
from src.swarm.shapes import bounds
from src.swarm.shapes.accepting import accepted_config, accepted_values
from src.swarm.shapes.bounds import Id, Label, LongText, Name, Note, Priority
from src.swarm.shapes.commands import Assignment
from src.swarm.shapes.limits import Limits
from src.swarm.shapes.models import Config, Policy, ResponderRules, Scheduling


class Membership(Part, frozen=True, gc=False):
    """A bot's place in a team. The bot need not have a config yet."""

    bot: Id
    role: Label = ""
    priority: Priority = 0


class Structure(Part, frozen=True, gc=False):
    """The organisation of a team in a notation of its own; swarmstate hands it on unread."""

    type: Label = ""
    content: LongText = ""


class TeamDefaults(Part, frozen=True, gc=False):
    """What conversations of the team inherit where their own config sets nothing."""

    limits: Limits = Limits()
    scheduling: Scheduling = Scheduling()
    policy: Policy = Policy()
    responder: ResponderRules = ResponderRules()
    providers: ProviderNames = ProviderNames()
    blackboard: Annotated[tuple[Assignment, ...], Meta(max_length=bounds.BLACKBOARD_ITEMS)] = ()


class TeamConfig(Part, frozen=True, gc=False):
    """Bots that work together, and what for."""

    name: Name
    schema: Schema = SCHEMA
    members: Annotated[tuple[Membership, ...], Meta(max_length=bounds.PARTICIPANTS)] = ()
    objectives: Annotated[tuple[Note, ...], Meta(max_length=100)] = ()
    structure: Structure = Structure()
    defaults: TeamDefaults = TeamDefaults()


_teams = msgspec.json.Decoder(TeamConfig)


def decode_team(body: bytes) -> TeamConfig:
    """Return the team's config in these bytes, canonical.

    Raises:
        InvalidCommand, Refused: out of bounds or of a wrong type; names the field.
    """
    team = decoded(_teams, body)
    bounds.unique((member.bot for member in team.members), "members[{}].bot")
    given = team.defaults
    config = accepted_config(
        Config(scheduling=given.scheduling, responder=given.responder), "defaults"
    )
    values = accepted_values(given.blackboard, "defaults.blackboard")
    defaults = replace(
        given,
        scheduling=config.scheduling,
        responder=config.responder,
        providers=accepted_providers(given.providers, "defaults.providers"),
        blackboard=tuple(Assignment(value.id, value.value) for value in values),
    )
    return replace(team, defaults=defaults)
