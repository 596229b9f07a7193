"""`make mutate`: mutate the rooms that keep the promises, run the tests on each mutant, report."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.mutation.job import Job
from tests.mutation.reasons import read_reasons
from tests.mutation.recording import Touched
from tests.mutation.report import write
from tests.mutation.session import Session
from tests.mutation.touches import touches

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".mutation"
DOCUMENT = ROOT / "docs" / "mutation.md"
ROOMS = ("src/state", "src/invalidation")

console = Console()


def modules(only: Sequence[str]) -> list[str]:
    """Return the modules to mutate, relative to the root.

    Raises:
        typer.BadParameter: nothing is mutated under that name.
    """
    found = [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.read_text(encoding="utf-8").strip()
    ]
    for name in only:
        if not any(path.startswith(name) for path in found):
            raise typer.BadParameter(f"no module of {', '.join(ROOMS)} begins with {name!r}")
    return [path for path in found if not only or path.startswith(tuple(only))]


def run(sessions: Sequence[Session], jobs: int) -> None:
    """Run what is still open of all sessions, each worker in a tree of its own."""
    with ExitStack() as stack:
        idle: SimpleQueue[Job] = SimpleQueue()
        for _ in range(jobs):
            job = Job(ROOT, WORK, stack)
            idle.put(job)
        with console.status("which test runs which line?"):
            tests = touches(WORK, job.tree, job.fresh)
        perform(sessions, idle, tests, jobs)


def perform(
    sessions: Sequence[Session], idle: SimpleQueue[Job], tests: Sequence[Touched], jobs: int
) -> None:
    """Give each session to a worker, and show how far they are."""
    columns = (
        TextColumn("{task.description:40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(jobs) as workers:
        everything = progress.add_task("all mutants", total=sum(len(one) for one in sessions))
        progress.advance(everything, sum(one.done for one in sessions))

        def work(session: Session) -> None:
            job = idle.get()
            bar = progress.add_task(session.module, total=len(session), completed=session.done)
            try:
                for _ in session.perform(job, tests):
                    progress.advance(bar)
                    progress.advance(everything)
            finally:
                progress.remove_task(bar)
                idle.put(job)
            console.print(f"{session.module}: {session.summary()}", highlight=False)

        for outcome in [workers.submit(work, one) for one in sessions if one.done < len(one)]:
            outcome.result()


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(help="Begin of a module's path, such as src/state/lane; may be repeated."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Mutants at once.")] = 2,
    report: Annotated[bool, typer.Option(help="Only write docs/mutation.md again.")] = False,
    fresh: Annotated[bool, typer.Option(help="Forget earlier results.")] = False,
    survivors: Annotated[bool, typer.Option(help="Try those again that survived.")] = False,
) -> None:
    """Mutate src/state and src/invalidation and run the tests of its line on every mutant.

    An hour or two on two cores; stop it whenever you like, it goes on where it stopped. A function
    whose text changed starts again. Exits 1 when a mutant survived that has no reason in
    tests/mutation/survivors.toml.
    """
    if fresh:
        shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(exist_ok=True)
    chosen = set(modules(only or ()))
    every = [Session(WORK, ROOT, module) for module in modules(())]
    if survivors:
        for session in every:
            if session.module in chosen:
                session.forget_survivors()
    if not report:
        run([one for one in every if one.module in chosen], jobs)
    unexplained = write(DOCUMENT, every, read_reasons())
    for survivor in unexplained:
        console.print(f"survived without a reason: {survivor}", highlight=False)
    raise typer.Exit(1 if unexplained else 0)


if __name__ == "__main__":
    typer.run(main)
