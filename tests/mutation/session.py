"""The mutants of one module and what became of them, in files so that a run can be resumed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from tests.mutation.choice import Choice
from tests.mutation.forks import Forks
from tests.mutation.mutant import Mutant, mutants, mutated
from tests.mutation.outcomes import Outcomes
from tests.mutation.reasons import Survivor
from tests.mutation.recording import Touched


class Session:
    """One module. Its files are named after the module's text: other text, other mutants."""

    def __init__(self, work: Path, root: Path, module: str) -> None:
        self.module = module
        text = (root / module).read_bytes()
        self._text = text.decode()
        self._lines = self._text.splitlines()
        name = module.removesuffix(".py").replace("/", ".")
        path = work / f"{name}.{sha256(text).hexdigest()[:12]}"
        self._mutants = mutants(self._text)
        self._outcomes = Outcomes(path.with_name(f"{path.name}.outcomes"))
        self.forget_survivors = self._outcomes.forget_survivors

    def __len__(self) -> int:
        return len(self._mutants)

    @property
    def done(self) -> int:
        """How many mutants have their outcome."""
        return sum(mutant.name in self._outcomes for mutant in self._mutants)

    def perform(self, tree: Path, forks: Forks, tests: Sequence[Touched]) -> Iterator[Mutant]:
        """Try every mutant that has no outcome yet; yield it when it has."""
        choice = Choice(self.module, self._text, tests)
        target = tree / self.module
        before = target.stat()
        for mutant in self._mutants:
            if mutant.name in self._outcomes:
                continue
            try:
                target.write_text(mutated(self._text, mutant), encoding="utf-8")
                outcome = self._tried(choice, mutant, forks)
            finally:
                target.write_text(self._text, encoding="utf-8")
                # As old as its bytecode says.
                os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
            self._outcomes.add(mutant.name, outcome)
            yield mutant

    def _tried(self, choice: Choice, mutant: Mutant, forks: Forks) -> str:
        outcomes = map(forks.run, choice.trials(mutant.row))
        return next((one for one in outcomes if one != "survived"), "survived")

    def survivors(self) -> list[Survivor]:
        """Return the mutants that no test noticed."""
        return [
            Survivor(self.module, one.row, self._lines[one.row - 1].strip(), one.operator)
            for one in self._mutants
            if self._outcomes.survived(one.name)
        ]

    def summary(self) -> str:
        """Say in a line what became of the mutants."""
        return f"{self.done} of {len(self)} tried, {len(self.survivors())} survived"
