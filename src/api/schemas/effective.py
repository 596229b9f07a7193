"""The answer that says what holds in a conversation, and where each value comes from."""

from __future__ import annotations

import msgspec

from src.swarm.configs.bots import ProviderNames
from src.swarm.configs.inheritance import (
    Effective,
    EffectivePolicy,
    EffectiveResponder,
    EffectiveScheduling,
    EffectiveValue,
)
from src.swarm.shapes.limits import EffectiveLimits


class EffectiveConfig(msgspec.Struct, frozen=True, gc=False):
    """What holds in a conversation: set by itself, else its team, else globally, else by default.

    `values` has the same values place by place, each with its origin.
    """

    conversation_id: str
    version: str
    limits: EffectiveLimits
    scheduling: EffectiveScheduling
    policy: EffectivePolicy
    responder: EffectiveResponder
    providers: ProviderNames
    values: tuple[EffectiveValue, ...]


def answer_of(
    conversation_id: str, version: str, result: Effective, values: tuple[EffectiveValue, ...]
) -> EffectiveConfig:
    """Return the answer for one conversation."""
    return EffectiveConfig(
        conversation_id,
        version,
        result.limits,
        result.scheduling,
        result.policy,
        result.responder,
        result.providers,
        values,
    )
