"""JSON into the classes of `answers.py`: what a class names has to be there, all else is ignored.

So an answer of a newer server is read by an older client. It is written here so that the package
needs nothing but aiohttp, and knows only the types that these classes use: texts, numbers, times,
tuples, `X | None`, other such classes, and JSON as it is.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from swarmstate_client.errors import NotUnderstood

T = TypeVar("T")
_Reader = Callable[[Any, str], Any]


def read(kind: type[T], value: object, at: str = "answer") -> T:
    """Return the value as that class.

    Raises:
        NotUnderstood: it is something else; the message names the place.
    """
    hint: Any = kind
    found: T = _reader(hint)(value, at)
    return found


def parse(text: str | bytes, at: str) -> Any:
    """Return the JSON of a text.

    Raises:
        NotUnderstood: it is none.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise NotUnderstood(f"{at} is not JSON; is this a server of swarmstate?") from error


@cache
def _reader(hint: Any) -> _Reader:  # A type, or what typing makes of one.
    if is_dataclass(hint):
        return _Object(hint)
    if hint in (str, int, float, bool):
        return _Plain(hint)
    if hint is datetime:
        return _moment
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (one,) = (arg for arg in inner if arg is not types.NoneType)
        found = _reader(one)
        return lambda value, at: None if value is None else found(value, at)
    if origin is tuple:
        return _Many(_reader(inner[0]))
    if origin is Mapping:
        return _mapping
    return _as_it_is


class _Object:
    def __init__(self, kind: Any) -> None:
        hints = get_type_hints(kind)
        self._kind = kind
        self._fields = tuple(
            (
                one.name,
                one.metadata.get("name", one.name),
                hints[one.name],
                one.default is MISSING and one.default_factory is MISSING,
            )
            for one in fields(kind)
        )

    def __call__(self, value: Any, at: str) -> Any:
        given = _mapping(value, at)
        found = {}
        for name, spelled, hint, required in self._fields:
            place = f"{at}.{spelled}"
            if spelled in given:
                found[name] = _reader(hint)(given[spelled], place)
            elif required:
                raise NotUnderstood(f"{place} is missing; is this a server of swarmstate?")
        return self._kind(**found)


class _Plain:
    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._taken = (int, float) if kind is float else kind

    def __call__(self, value: Any, at: str) -> Any:
        # To Python a bool is a number, to JSON it is not.
        is_bool = isinstance(value, bool)
        if not isinstance(value, self._taken) or is_bool != (self._kind is bool):
            raise _wrong(value, self._kind.__name__, at)
        return value


class _Many:
    def __init__(self, one: _Reader) -> None:
        self._one = one

    def __call__(self, value: Any, at: str) -> Any:
        if not isinstance(value, list):
            raise _wrong(value, "list", at)
        return tuple(self._one(item, f"{at}[{number}]") for number, item in enumerate(value))


def _moment(value: Any, at: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise _wrong(value, "time", at) from error


def _mapping(value: Any, at: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(value, "object", at)
    return value


def _as_it_is(value: Any, at: str) -> Any:
    return value


def _wrong(value: object, expected: str, at: str) -> NotUnderstood:
    return NotUnderstood(f"{at} is {type(value).__name__}, not {expected}; is this swarmstate?")
