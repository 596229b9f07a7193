"""Ten thousand seeds of the simulation, in chunks, and a crash at every await on purpose."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

from src.state.guards import ALL_ON, Guards
from tests.prove.act import Act, Place, Result, Stopped
from tests.simulation.awaits import Await, all_awaits, reachable, reason
from tests.simulation.run import Outcome, simulate

_SEEDS = 10_000
_CHUNK = 250
_SABOTAGE_SEEDS = 200
_MUST_BREAK = ("seq", "whole", "resend", "watermark", "announce", "flush")
_TRIES = 300
"""Seeds that aim at one await, after which it counts as never reached."""


def _replay(outcome: Outcome, options: str = "") -> list[str]:
    command = f"python -m tests.simulation {outcome.seed}{options} --trace"
    return [f"seed {outcome.seed}: {one} ({command})" for one in outcome.violations]


def _play(place: Place, first: int) -> Result:
    counts: Counter[str] = Counter()
    violations: list[str] = []
    struck: Counter[Await] = Counter()
    for seed in range(first, first + _CHUNK):
        if place.stop.is_set():
            raise Stopped
        outcome = simulate(seed)
        counts += _counts(outcome)
        struck.update(outcome.struck)
        violations += _replay(outcome)
        if seed % 10 == 0:
            place.tell(f"{seed - first} of {_CHUNK} seeds")
    note = f"seeds {first} to {first + _CHUNK - 1}: crashes at {len(struck)} different awaits"
    return Result(counts, violations=violations, notes=[note])


def _counts(outcome: Outcome) -> Counter[str]:
    return Counter(
        seeds=1,
        simulated_operations=outcome.operations,
        simulated_acks=outcome.acked,
        simulated_reads=outcome.reads,
        simulated_faults=sum(outcome.faults.values()),
        simulated_crashes=outcome.crashes,
    )


def _crash_everywhere(place: Place) -> Result:
    """Aim at every await that no crash has struck yet, seed after seed."""
    struck: Counter[Await] = Counter()
    violations: list[str] = []
    missing = reachable()
    seed = _SEEDS
    for number, target in enumerate(missing):
        for _ in range(_TRIES):
            if struck[target]:
                break
            if place.stop.is_set():
                raise Stopped
            outcome = simulate(seed, aim=target)
            struck.update(outcome.struck)
            violations += _replay(outcome, f" --at '{target}'")
            seed += 1
        place.tell(f"{number + 1} of {len(missing)} awaits")
    violations += [f"no server crashed at {one}" for one in missing if not struck[one]]
    never = Counter(why for one in all_awaits() if (why := reason(one)) is not None)
    reached = sum(bool(struck[one]) for one in missing)
    notes = [
        f"crashes at {reached} of the {len(missing)} awaits at which a server can be suspended"
    ]
    notes += [f"{count} awaits: {why}" for why, count in never.items()]
    return Result({"awaits_crashed_at": reached}, violations=violations, notes=notes)


def _sabotage(place: Place) -> Result:
    """Switch each guard off and look for a seed that shows it: a proof that cannot fail is none."""
    notes, violations = [], []
    for guard in (field.name for field in fields(Guards)):
        for seed in range(_SABOTAGE_SEEDS):
            if place.stop.is_set():
                raise Stopped
            found = simulate(seed, guards=replace(ALL_ON, **{guard: False})).violations
            if found:
                notes.append(f"without {guard} seed {seed} breaks: {found[0][:160]}")
                break
        else:
            notes.append(f"without {guard} nothing broke in {_SABOTAGE_SEEDS} seeds")
            if guard in _MUST_BREAK:
                violations.append(notes[-1])
        place.tell(guard)
    return Result(notes=notes, violations=violations)


async def _in_thread(work: Callable[[Place], Result], place: Place) -> Result:
    # The simulation has a loop of its own.
    return await asyncio.to_thread(work, place)


ACTS = (
    Act(
        "simulation-every-await",
        "simulation",
        partial(_in_thread, _crash_everywhere),
        about_s=120.0,
    ),
    Act("simulation-sabotage", "simulation", partial(_in_thread, _sabotage), about_s=900.0),
    *(
        Act(
            f"simulation-{first:05}",
            "simulation",
            partial(_in_thread, partial(_play, first=first)),
            about_s=45.0,
        )
        for first in range(0, _SEEDS, _CHUNK)
    ),
)
