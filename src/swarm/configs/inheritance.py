"""Inheritance: global setting -> team -> conversation; the nearest layer that sets a field counts.

Maps are inherited key by key (`layers.py`). What nobody sets has the default of the classes here;
a limit is never beyond its hard cap. What a rule obeys is always the result: `in_effect` gives a
state whose config says itself what it inherits, and the functions below it fill in the defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from src.swarm.configs.bots import ProviderNames, stage_options
from src.swarm.shapes import bounds, free_json, layers, limits
from src.swarm.shapes.commands import Command, PostMessage, SaveSession, SaveTurn
from src.swarm.shapes.config import Config, LlmConfig, Policy, ResponderRules, Scheduling
from src.swarm.shapes.free_json import EMPTY, holds
from src.swarm.shapes.limits import EffectiveLimits, Limits
from src.swarm.shapes.models import ConversationState
from src.swarm.shapes.work import RequestToolCall


class EffectivePolicy(msgspec.Struct, frozen=True, gc=False):
    """Who may see and write, and whether its rooms are recorded."""

    visibility: Literal["open", "restricted", "private"] = "open"
    acl: tuple[str, ...] = ()
    recording: bool = False


class EffectiveScheduling(msgspec.Struct, frozen=True, gc=False):
    """When tool calls run, and which of them a person has to approve first."""

    default_delay_ms: int = 0
    tool_delays: Annotated[Raw, holds(bounds.Delays)] = EMPTY
    requires_approval: Literal["none", "all"] | tuple[str, ...] = "none"
    approval_timeout_s: float = 600.0
    auto_reject_on_timeout: bool = True


class EffectiveResponder(msgspec.Struct, frozen=True, gc=False):
    """Who answers when nobody was named."""

    policy: Literal["default", "round_robin", "keywords", "moderator"] = "default"
    moderator: str | None = None
    default_bot: str | None = None
    keywords: Annotated[Raw, holds(bounds.Keywords)] = EMPTY
    loop_cap: int = 6


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a value comes from; of a setting or a team also which one, at which version."""

    layer: Literal["default", "global", "team", "conversation"]
    id: str | None = None
    version: int | None = None


class Layer(msgspec.Struct, frozen=True, gc=False):
    """What one setting, one team or one conversation sets."""

    origin: Origin
    limits: Limits = Limits()
    scheduling: Scheduling = Scheduling()
    policy: Policy = Policy()
    responder: ResponderRules = ResponderRules()
    providers: ProviderNames = ProviderNames()


Inherited = tuple[Layer, ...]
"""What stands above a conversation, the most general layer first."""

SECTIONS = ("limits", "scheduling", "policy", "responder", "providers")


class EffectiveValue(msgspec.Struct, frozen=True, gc=False):
    """Where one effective value comes from."""

    field: str
    """Its place, such as `limits.credits`, or `scheduling.tool_delays[pay]` in a map."""
    value: Raw
    origin: Origin
    clamped_from: float | None = None
    """The value that was set, where it is beyond the hard cap."""


class Effective(msgspec.Struct, frozen=True, gc=False):
    """What holds in a conversation."""

    limits: EffectiveLimits
    scheduling: EffectiveScheduling
    policy: EffectivePolicy
    responder: EffectiveResponder
    providers: ProviderNames


def team_of(state: ConversationState) -> str | None:
    """Return the id of the team that a conversation inherits from: its config's, else its team."""
    return state.config.team_id or (state.team.id if state.team is not None else None)


def is_ruled(command: Command, state: ConversationState) -> bool:
    """Say whether deciding this command looks at anything that can be inherited."""
    if isinstance(command, PostMessage):
        return state.participant(command.author.id) is None
    return isinstance(command, SaveTurn | SaveSession | RequestToolCall)


def in_effect(state: ConversationState, inherited: Inherited) -> ConversationState:
    """Return the state as if its config said itself all that it inherits."""
    if not inherited:
        return state
    config = state.config
    every = (*inherited, own_layer(config))
    providers = layers.overlay(*(layer.providers for layer in every))
    return replace(
        state,
        config=replace(
            config,
            limits=layers.overlay(*(layer.limits for layer in every)),
            scheduling=layers.overlay(*(layer.scheduling for layer in every)),
            policy=layers.overlay(*(layer.policy for layer in every)),
            responder=layers.overlay(*(layer.responder for layer in every)),
            llm_config=LlmConfig(
                providers.llm, providers.fallback, stage_options(providers, "llm")
            ),
        ),
    )


def own_layer(config: Config) -> Layer:
    """Return what a conversation's config sets itself."""
    model = config.llm_config
    options = EMPTY
    if model.options != EMPTY:
        options = free_json.write({"llm": free_json.read(model.options)})
    return Layer(
        Origin("conversation"),
        config.limits,
        config.scheduling,
        config.policy,
        config.responder,
        ProviderNames(llm=model.model, fallback=model.fallback, options=options),
    )


def scheduling(config: Config) -> EffectiveScheduling:
    """Return the scheduling of a config that says all that it inherits."""
    return layers.filled(EffectiveScheduling, config.scheduling)


def policy(config: Config) -> EffectivePolicy:
    """Return the policy of a config that says all that it inherits."""
    return layers.filled(EffectivePolicy, config.policy)


def responder(config: Config) -> EffectiveResponder:
    """Return the responder's rules of a config that says all that it inherits."""
    return layers.filled(EffectiveResponder, config.responder)


def effective(config: Config, inherited: Inherited) -> Effective:
    """Return all that holds in a conversation with this config."""
    every = (*inherited, own_layer(config))
    return Effective(
        limits.effective(*(layer.limits for layer in every)),
        layers.filled(EffectiveScheduling, layers.overlay(*(layer.scheduling for layer in every))),
        layers.filled(EffectivePolicy, layers.overlay(*(layer.policy for layer in every))),
        layers.filled(EffectiveResponder, layers.overlay(*(layer.responder for layer in every))),
        layers.overlay(*(layer.providers for layer in every)),
    )


def values(config: Config, inherited: Inherited) -> tuple[EffectiveValue, ...]:
    """Return where each effective value comes from, in the order of `Effective`."""
    every = (*inherited, own_layer(config))
    result = effective(config, inherited)
    return tuple(
        value for name in SECTIONS for value in _values(name, getattr(result, name), every)
    )


def _values(
    section: str, result: msgspec.Struct, every: Sequence[Layer]
) -> Iterator[EffectiveValue]:
    for name in result.__struct_fields__:
        place, held = f"{section}.{name}", getattr(result, name)
        set_by = [
            (layer.origin, value)
            for layer in every
            for known, value in layers.given(getattr(layer, section))
            if known == name
        ]
        if isinstance(held, Raw):
            nearest = {key: origin for origin, value in set_by for key in free_json.read(value)}
            for key, value in free_json.read(held).items():
                yield EffectiveValue(f"{place}[{key}]", free_json.write(value), nearest[key])
            continue
        origin, wanted = set_by[-1] if set_by else (Origin("default"), held)
        clamped = wanted if wanted != held else None
        yield EffectiveValue(place, free_json.write(held), origin, clamped)
