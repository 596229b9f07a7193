"""`python -m tests.simulation SEED [--trace]`: play seeds, and say where servers crashed."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from tests.simulation.awaits import Await, all_awaits, reason
from tests.simulation.run import simulate


def main(
    seed: Annotated[int, typer.Argument(help="The first seed.")] = 0,
    seeds: Annotated[int, typer.Option(help="How many, from the first one on.")] = 1,
    at: Annotated[str, typer.Option(help="The await to crash at, as --awaits lists it.")] = "",
    faults: Annotated[
        int | None, typer.Option(help="How many faults; 5 to 8 if not given.")
    ] = None,
    trace: Annotated[bool, typer.Option(help="Print everything that happens.")] = False,
    awaits: Annotated[
        bool, typer.Option(help="List where servers crashed, and where not.")
    ] = False,
) -> None:
    """Simulate servers under faults; exit with 1 if a promise was broken."""
    aim = next((one for one in all_awaits() if str(one) == at), None)
    struck: Counter[Await] = Counter()
    broken = 0
    for number in range(seed, seed + seeds):
        outcome = simulate(number, aim=aim, trace=typer.echo if trace else None)
        struck.update(outcome.struck)
        broken += bool(outcome.violations)
        for violation in outcome.violations:
            typer.echo(f"seed {number}: {violation}")
        if outcome.violations and not trace:
            typer.echo(f"replay: python -m tests.simulation {number} --trace")
    if awaits:
        typer.echo("\n".join(coverage(struck)))
    typer.echo(f"{seeds} seeds, {broken} broken, {len(struck)} awaits crashed at")
    raise typer.Exit(1 if broken else 0)


def coverage(struck: Counter[Await]) -> list[str]:
    """Return a line for each await: how often servers crashed there, or why they never do."""
    return [f"{struck[one]:6} {one}{_why(one)}" for one in all_awaits()]


def _why(place: Await) -> str:
    why = reason(place)
    return "" if why is None else f"  ({why})"


if __name__ == "__main__":
    typer.run(main)
