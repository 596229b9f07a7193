"""Why a mutant may live: tests/mutation/survivors.toml, one entry per line of code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

FILE = Path(__file__).with_name("survivors.toml")


class Survivor(msgspec.Struct, frozen=True, order=True):
    """A mutant that no test noticed: the operator, and the line that it changed."""

    module: str
    number: int
    line: str
    operator: str
    above: str = ""
    """The line before it."""

    def __str__(self) -> str:
        return f"{self.module}:{self.number} {self.operator}: {self.line}"


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`line` is the source line without its indent, `above` the one before it, any when empty;
    `operators` are begins of their names, all when empty."""

    module: str
    line: str
    reason: str
    operators: tuple[str, ...] = ("",)
    above: str = ""

    def explains(self, survivor: Survivor) -> bool:
        here = (self.module, self.line) == (survivor.module, survivor.line)
        operator = survivor.operator.removeprefix("core/")
        return here and self.above in ("", survivor.above) and operator.startswith(self.operators)


class _Reasons(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    survivor: tuple[Reason, ...] = ()


def read_reasons(file: Path = FILE) -> Sequence[Reason]:
    """Return the reasons.

    Raises:
        msgspec.ValidationError: an entry lacks a field or has one too many.
    """
    return msgspec.toml.decode(file.read_bytes(), type=_Reasons).survivor


def reason_for(survivor: Survivor, reasons: Sequence[Reason]) -> str | None:
    """Return why this one may live; None: nobody says."""
    return next((one.reason for one in reasons if one.explains(survivor)), None)
