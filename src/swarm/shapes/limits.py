"""Limits of a conversation: defaults, hard caps, and the effective value between them.

A limit that is not set is inherited: see `inheritance.py`. Credits are whole numbers, 1 000 000 for
one US dollar.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from src.swarm.shapes import layers
from src.swarm.shapes.bounds import Count

Seconds = Annotated[float, Meta(ge=0, le=1e9)]


class Limits(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What one layer sets; None: inherited. Values above the hard cap are clamped when used."""

    tool_calls_per_response: Count | None = None
    tool_calls: Count | None = None
    credits_per_response: Count | None = None
    credits: Count | None = None
    response_s: Seconds | None = None
    duration_s: Seconds | None = None
    cycle_delay_s: Seconds | None = None


class EffectiveLimits(msgspec.Struct, frozen=True, gc=False):
    """Limits that hold: every one set and within its cap. Durations in seconds."""

    tool_calls_per_response: int = 10
    tool_calls: int = 50
    credits_per_response: int = 1_000_000
    credits: int = 5_000_000
    response_s: float = 60.0
    duration_s: float = 600.0
    cycle_delay_s: float = 0.0


DEFAULTS = EffectiveLimits()
CAPS = EffectiveLimits(
    tool_calls_per_response=50,
    tool_calls=1_000,
    credits_per_response=2_000_000,
    credits=100_000_000,
    response_s=600.0,
    duration_s=86_400.0,
    cycle_delay_s=60.0,
)


def effective(*given: Limits) -> EffectiveLimits:
    """Combine layers, the most general first: the last that sets a limit wins, then the cap."""
    wanted = layers.filled(EffectiveLimits, layers.overlay(Limits(), *given))
    return EffectiveLimits(
        **{
            name: min(getattr(wanted, name), getattr(CAPS, name))
            for name in Limits.__struct_fields__
        }
    )
