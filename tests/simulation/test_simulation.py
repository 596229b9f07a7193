"""Some dozens of seeds; `make prove` plays ten thousand."""

from dataclasses import replace

import pytest

from src.state.guards import ALL_ON
from tests.simulation.run import simulate

SEEDS = range(24)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_is_kept(seed: int) -> None:
    outcome = simulate(seed)
    assert outcome.violations == (), f"replay: python -m tests.simulation {seed} --trace"
    assert outcome.operations >= 200
    assert sum(outcome.faults.values()) >= 5


def test_crashes_strike_at_many_awaits() -> None:
    """A crash draws one, and passes by when no server comes to it."""
    struck = {place for seed in range(8) for place in simulate(seed).struck}
    assert len(struck) >= 8


def test_equal_seeds_run_equally() -> None:
    assert simulate(7).digest == simulate(7).digest != simulate(8).digest


@pytest.mark.parametrize("guard", ["announce", "flush", "resend", "watermark", "whole"])
def test_sabotage_is_caught(guard: str) -> None:
    off = replace(ALL_ON, **{guard: False})
    assert any(simulate(seed, guards=off).violations for seed in range(20))
