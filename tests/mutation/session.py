"""The mutants of one module and what became of them, in files so that a run can be resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from tests.mutation.choice import Choice
from tests.mutation.job import Job
from tests.mutation.mutant import Mutant, mutants, mutated
from tests.mutation.outcomes import Outcomes
from tests.mutation.reasons import Survivor
from tests.mutation.recording import Touched


class Session:
    """One module. A function whose text changed has other mutants, which have no outcome yet."""

    def __init__(self, work: Path, root: Path, module: str) -> None:
        self.module = module
        self._text = (root / module).read_text(encoding="utf-8")
        self._lines = self._text.splitlines()
        self._mutants = mutants(self._text)
        name = module.removesuffix(".py").replace("/", ".")
        self._outcomes = Outcomes(work / f"{name}.outcomes")
        self.forget_survivors = self._outcomes.forget_survivors

    def __len__(self) -> int:
        return len(self._mutants)

    @property
    def done(self) -> int:
        """How many mutants have their outcome."""
        return sum(mutant.name in self._outcomes for mutant in self._mutants)

    def perform(self, job: Job, tests: Sequence[Touched]) -> Iterator[Mutant]:
        """Try every mutant that has no outcome yet; yield it when it has."""
        choice = Choice(self.module, self._text, tests)
        for mutant in self._mutants:
            if mutant.name not in self._outcomes:
                self._outcomes.add(mutant.name, self._tried(job, choice, mutant))
                yield mutant

    def _tried(self, job: Job, choice: Choice, mutant: Mutant) -> str:
        text = mutated(self._text, mutant)
        for trial in choice.trials(mutant.row):
            outcome = job.run(replace(trial, module=self.module, text=text))
            if outcome != "survived":
                return outcome
        return "survived"

    def survivors(self) -> list[Survivor]:
        """Return the mutants that no test noticed."""
        return [
            Survivor(
                self.module,
                one.row,
                self._lines[one.row - 1].strip(),
                one.operator,
                self._lines[one.row - 2].strip(),
            )
            for one in self._mutants
            if self._outcomes.survived(one.name)
        ]

    def summary(self) -> str:
        """Say in a line what became of the mutants."""
        return f"{self.done} of {len(self)} tried, {len(self.survivors())} survived"
