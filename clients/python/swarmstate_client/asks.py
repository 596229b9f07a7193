"""What a server is asked, and what it answers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request, the same for each try."""

    method: str
    path: str
    query: Query = ()
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    parts: Callable[[], AsyncIterator[bytes]] | None = None
    """Instead of a body its bytes; called for each try."""
    headers: Mapping[str, str] = field(default_factory=dict)
    of: str | None = None
    """The thing whose last version goes along, and is learned from the answer."""
    repeatable: bool = True
    """Whether doing it twice is doing it once."""
    public: bool = False
    """Asked without a token."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer that was read to its end."""

    headers: Mapping[str, str]
    body: Any
    """JSON; None where there is none."""


Send = Callable[[Ask], Awaitable[Answer]]


def at(template: str, *ids: str) -> str:
    """Return a path below /api/v1 with each `{}` replaced by an id, whatever is in that.

    Raises:
        ValueError: an empty id, or one of dots, would name another path.
    """
    if set(ids) & {"", ".", ".."}:
        raise ValueError(f"{ids} is no id for {template}")
    return "/api/v1" + template.format(*(quote(one, safe="") for one in ids))


def query(**given: object) -> Query:
    """Return what is given as the pairs of a query; None is left out, a list becomes several."""
    pairs: list[tuple[str, str]] = []
    for name, value in given.items():
        many = value if isinstance(value, list | tuple) else [value]
        pairs += [(name, str(one)) for one in many if one is not None]
    return pairs


def write(
    *, key: str | None = None, if_match: str | int | None = None, durability: str | None = None
) -> dict[str, str]:
    """Return the headers of a write; without a key it gets one of its own."""
    headers = {"Idempotency-Key": key or uuid.uuid4().hex, **conditional(if_match)}
    if durability is not None:
        headers["X-Swarm-Durability"] = durability
    return headers


def conditional(if_match: str | int | None) -> dict[str, str]:
    """Return the header that makes a write depend on a version."""
    return {} if if_match is None else {"If-Match": f'"{if_match}"'}
