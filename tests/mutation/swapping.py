"""Mutants inside of functions, without an import: what is loaded gets the changed code."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType


def loaded(tree: Path) -> Mapping[str, Sequence[FunctionType]]:
    """Return every function that is there, by the file that it comes from, relative to the tree."""
    found: dict[str, list[FunctionType]] = {}
    for one in gc.get_objects():
        if isinstance(one, FunctionType):
            path = Path(one.__code__.co_filename)
            if path.is_relative_to(tree):
                found.setdefault(str(path.relative_to(tree)), []).append(one)
    return found


def swap(functions: Sequence[FunctionType], text: str) -> bool:
    """Give a module's functions the code that they have in `text`; False: it is what they had.

    Then the change is one of what runs at import, and this is not the way to try it.
    """
    codes = {(code.co_qualname, code.co_firstlineno): code for code in _codes(text)}
    changed = False
    for function in functions:
        now = function.__code__
        code = codes.get((now.co_qualname, now.co_firstlineno), now)
        if code != now and code.co_freevars == now.co_freevars:
            function.__code__ = code
            changed = True
    return changed


def _codes(text: str) -> Iterator[CodeType]:
    waiting = [compile(text, "mutant", "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [one for one in code.co_consts if isinstance(one, CodeType)]
