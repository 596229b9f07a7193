"""What differs between two versions of a config."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from src.swarm.shapes.free_json import Json


class Difference(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One place that differs, such as `steps[2].then[0].tool`; a side that lacks it is left out."""

    path: str
    before: Json | UnsetType = UNSET
    after: Json | UnsetType = UNSET


def differences(before: Json, after: Json, path: str = "") -> Iterator[Difference]:
    """Give what differs, the innermost places, in the order of `after`, what is gone last.

    Lists are compared place by place: what is put in at the front changes all that follows.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for name in (*after, *(name for name in before if name not in after)):
            inner = f"{path}.{name}" if path else name
            yield from _at(inner, before.get(name, UNSET), after.get(name, UNSET))
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else UNSET
            new = after[index] if index < len(after) else UNSET
            yield from _at(f"{path}[{index}]", old, new)
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield Difference(path, before, after)


def _at(path: str, before: Json | UnsetType, after: Json | UnsetType) -> Iterator[Difference]:
    if before is UNSET or after is UNSET:
        yield Difference(path, before, after)
    else:
        yield from differences(before, after, path)
