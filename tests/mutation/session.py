"""The mutants of one module and what became of them, in files so that a run can be resumed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from tests.mutation.reasons import Survivor

# One replacement per idea: a bitwise operator is a type's `|` here, and of the comparisons only
# those that are off by one or the other way round say something about a test.
LEFT_OUT = (
    "core/ReplaceBinaryOperator_BitOr",
    "core/ReplaceBinaryOperator_BitAnd",
    "core/ReplaceBinaryOperator_Mul_",
    "core/ReplaceBinaryOperator_Pow",
    "core/RemoveDecorator",
    "core/ReplaceUnaryOperator_USub",
)
KEPT_PAIRS = (
    "Add_Sub", "Sub_Add", "Div_Mul", "FloorDiv_Mul", "Mod_Add", "LShift_RShift",
    "Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is", "In_NotIn", "NotIn_In",
    "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt",
)  # fmt: skip
TIMEOUT_S = 120
_NO_TESTS = 5
TESTS = (
    "tests/unit/state",
    "tests/unit/invalidation",
    "tests/contracts",
    "tests/guards",
    "tests/defects",
    "tests/unit/swarm/test_service.py",
    "tests/unit/swarm/dialogue/test_host.py",
)


class Mutant(msgspec.Struct, frozen=True):
    """As cosmic-ray names it."""

    job: str
    operator: str
    occurrence: int
    line: int


class Session:
    """One module. Its file is named after the module's text: other text, other mutants."""

    def __init__(self, work: Path, root: Path, module: str) -> None:
        self.module = module
        text = (root / module).read_bytes()
        self._lines = text.decode().splitlines()
        name = module.removesuffix(".py").replace("/", ".")
        self._config = work / f"{name}.toml"
        self._path = work / f"{name}.{sha256(text).hexdigest()[:12]}.sqlite"
        if not self._path.exists():
            self._begin(root)
        with sqlite3.connect(self._path) as database:
            rows = database.execute(
                "SELECT job_id, operator_name, occurrence, start_pos_row "
                "FROM mutation_specs ORDER BY start_pos_row, operator_name, occurrence"
            )
            self._mutants = [one for row in rows if _tells(one := Mutant(*row))]
        self._outcomes = self._path.with_suffix(".outcomes")
        self._known: dict[str, str] = {}
        if self._outcomes.exists():
            self._known = dict(line.split() for line in self._outcomes.read_text().splitlines())

    def __len__(self) -> int:
        return len(self._mutants)

    @property
    def done(self) -> int:
        """How many mutants have their outcome."""
        return sum(mutant.job in self._known for mutant in self._mutants)

    def _begin(self, root: Path) -> None:
        self._config.write_text(
            f'[cosmic-ray]\nmodule-path = "{self.module}"\ntimeout = {TIMEOUT_S}.0\n'
            'excluded-modules = []\ntest-command = "false"\n'
            '[cosmic-ray.distributor]\nname = "local"\n'
        )
        command = [sys.executable, "-m", "cosmic_ray.cli", "init"]
        command += [str(self._config), str(self._path)]
        subprocess.run(command, cwd=root, check=True)

    def perform(self, tree: Path) -> Iterator[Mutant]:
        """Try every mutant that has no outcome yet; yield it when it has."""
        target = tree / self.module
        original = target.read_text(encoding="utf-8")
        for mutant in self._mutants:
            if mutant.job in self._known:
                continue
            try:
                target.write_text(_mutated(original, mutant), encoding="utf-8")
                outcome = _test(tree, self.module)
            finally:
                target.write_text(original, encoding="utf-8")
            self._known[mutant.job] = outcome
            with self._outcomes.open("a") as file:
                file.write(f"{mutant.job} {outcome}\n")
            yield mutant

    def survivors(self) -> list[Survivor]:
        """Return the mutants that no test noticed."""
        return [
            Survivor(self.module, one.line, self._lines[one.line - 1].strip(), one.operator)
            for one in self._mutants
            if self._known.get(one.job) == "survived"
        ]

    def summary(self) -> str:
        """Say in a line what became of the mutants."""
        return f"{self.done} of {len(self)} tried, {len(self.survivors())} survived"


def _tells(mutant: Mutant) -> bool:
    if mutant.operator.startswith(LEFT_OUT):
        return False
    pair = mutant.operator.partition("Operator_")[2]
    return not pair or "Unary" in mutant.operator or pair in KEPT_PAIRS


def _mutated(text: str, mutant: Mutant) -> str:
    changed = mutate_code(text, get_operator(mutant.operator)(), mutant.occurrence)
    assert changed is not None, f"{mutant} does not fit the text it was made for"
    return str(changed)


def _test(tree: Path, module: str) -> str:
    """Run the tests, the nearest first; whatever is not a pass has noticed the mutant."""
    near = Path("tests/unit") / Path(module).relative_to("src")
    own, floor = near.with_name(f"test_{near.name}"), near.parent
    for names in ((str(own),), (str(floor),), TESTS):
        files = [name for name in names if (tree / name).exists()]
        outcome = _run(tree, files) if files else "survived"
        if outcome != "survived":
            return outcome
    return "survived"


def _run(tree: Path, files: Sequence[str]) -> str:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["-m", "not servers", "--no-header", *files]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            command, cwd=tree, env=environment, timeout=TIMEOUT_S, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return "hung"
    return "survived" if ended.returncode in (0, _NO_TESTS) else "killed"
