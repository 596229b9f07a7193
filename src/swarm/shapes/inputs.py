"""What every command is made of."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from src.state.models import Durability


class Input(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a command."""


class Asking(Input, frozen=True, gc=False, tag_field="type"):
    """A command; `durability` is the class of change that it asks for unless told otherwise."""

    durability: ClassVar[Durability] = Durability.LOGGED
