"""Teams: bots that work together, and what their conversations inherit."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from src.swarm.configs.bots import ProviderNames, accepted_providers
from src.swarm.configs.decoding import Part, decoded
from src.swarm.shapes import bounds
from src.swarm.shapes.accepting import accepted_config, accepted_values
from src.swarm.shapes.bounds import Id, Label, LongText, Name, Note, Priority
from src.swarm.shapes.config import Config, Policy, ResponderRules, Scheduling
from src.swarm.shapes.layers import given as set_by
from src.swarm.shapes.limits import Limits
from src.swarm.shapes.work import Assignment

L = TypeVar("L", bound=msgspec.Struct)


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


TEAM_SCHEMA = 2
"""From 2 on, a default that a team does not set stays out of its body; before, all were written."""


class TeamConfig(Part, frozen=True, gc=False):
    """Bots that work together, and what for."""

    name: Name
    schema: Annotated[int, Meta(ge=1, le=TEAM_SCHEMA)] = TEAM_SCHEMA
    members: Annotated[tuple[Membership, ...], Meta(max_length=bounds.PARTICIPANTS)] = ()
    objectives: Annotated[tuple[Note, ...], Meta(max_length=100)] = ()
    structure: Structure = Structure()
    defaults: TeamDefaults = TeamDefaults()


_teams = msgspec.json.Decoder(TeamConfig)

# What was built in when schema 1 was written; what is built in now may be something else.
_BUILT_IN_1 = TeamDefaults(
    scheduling=Scheduling(
        default_delay_ms=0,
        requires_approval="none",
        approval_timeout_s=600.0,
        auto_reject_on_timeout=True,
    ),
    policy=Policy(visibility="open", acl=()),
    responder=ResponderRules(policy="default", loop_cap=6),
)


def upgraded(team: TeamConfig) -> TeamConfig:
    """Return a team of any schema as this release says it.

    Schema 1 wrote every default out, so that a value which was the built-in one was not set.
    """
    if team.schema == TEAM_SCHEMA:
        return team
    given = team.defaults
    defaults = replace(
        given,
        scheduling=_without(given.scheduling, _BUILT_IN_1.scheduling),
        policy=_without(given.policy, _BUILT_IN_1.policy),
        responder=_without(given.responder, _BUILT_IN_1.responder),
    )
    return replace(team, schema=TEAM_SCHEMA, defaults=defaults)


def _without(layer: L, built_in: L) -> L:
    """Return a layer that does not set what is built in anyway."""
    return type(layer)(
        **{name: value for name, value in set_by(layer) if value != getattr(built_in, name)}
    )


def decode_team(body: bytes) -> TeamConfig:
    """Return the team's config in these bytes, canonical.

    Raises:
        InvalidCommand, Refused: out of bounds or of a wrong type; names the field.
    """
    team = upgraded(decoded(_teams, body))
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
