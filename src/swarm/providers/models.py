"""The models that a server has loaded, as operators see them."""

from __future__ import annotations

from typing import Literal

import msgspec


class ModelItem(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A model: one for each stage, name and options that are in use."""

    stage: Literal["llm", "stt", "tts", "vad"]
    name: str
    """As configs write it."""
    options: str
    """By which models of one name are told apart: a sum of their options, not the options."""
    state: Literal["loading", "ready"]
    users: int
    """Ears, voices and replies that have it now; one that has none is closed after a while."""
    requests: int
    """Requests of it under way: of all models of its stage and provider, where it is bounded."""
    waiting: int
    """Requests that wait for one of them to end."""
    concurrency: int | None
    """How many may be under way at once; null: any."""
    load_s: float
    """How long it took to load, in seconds; while it is loading, how long that takes already."""
    memory_bytes: int
    """What the process grew by while it was loaded, whatever else went on then."""
    unused_s: float | None
    """For how long nobody has used it; null: somebody does."""


class ModelsReport(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The models of one server."""

    server_id: str
    capacity: int = 0
    """So many can be loaded at once; 0: this server hosts neither rooms nor calls."""
    loads: int = 0
    """Models that were loaded since the server began."""
    failed_loads: int = 0
    shared: int = 0
    """How often somebody was given one that was there already."""
    memory_bytes: int = 0
    """The sum of its models'."""
    process_bytes: int = 0
    """The memory of the whole process; 0: the system does not tell."""
    models: tuple[ModelItem, ...] = ()
