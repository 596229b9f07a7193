"""What became of one module's mutants: a line each in a file, there as soon as it is known."""

from __future__ import annotations

from pathlib import Path


class Outcomes:
    """By the mutant's name: `killed`, `hung` or `survived`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, str] = {}
        if file.exists():
            # A run that was killed may have left half a line: without its end it counts not.
            whole, _, half = file.read_text().rpartition("\n")
            self._known = dict(line.split() for line in whole.splitlines())
            if half:
                self._write()

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def survived(self, name: str) -> bool:
        return self._known.get(name) == "survived"

    def add(self, name: str, outcome: str) -> None:
        self._known[name] = outcome
        with self._file.open("a") as file:
            file.write(f"{name} {outcome}\n")

    def forget_survivors(self) -> None:
        """Have the survivors tried again, by tests that were not there before."""
        self._known = {name: one for name, one in self._known.items() if one != "survived"}
        self._write()

    def _write(self) -> None:
        whole = self._file.with_name(f"{self._file.name}.new")
        whole.write_text("".join(f"{name} {one}\n" for name, one in self._known.items()))
        whole.replace(self._file)
