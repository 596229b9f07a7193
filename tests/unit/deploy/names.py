"""The settings as an operator sees them: environment variables with a type and a default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from src.agents.settings import RoomsSettings
from src.api.settings import ApiSettings
from src.state.settings import StateSettings
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.settings import SwarmSettings

ROOT = Path(__file__).parents[3]
CLASSES: tuple[type[BaseSettings], ...] = (
    StateSettings,
    SwarmSettings,
    LiveKitSettings,
    RoomsSettings,
    ApiSettings,
)
# A trailing underscore makes a prefix, no name.
_NAME = re.compile(r"SWARMSTATE_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_])")


def variable(settings: type[BaseSettings], name: str, field: FieldInfo) -> str:
    """Return the environment variable that sets a field."""
    if isinstance(field.validation_alias, str):
        # pydantic-settings puts no prefix before an alias.
        return field.validation_alias
    return (str(settings.model_config.get("env_prefix", "")) + name).upper()


FIELDS: dict[str, FieldInfo] = {
    variable(settings, name, field): field
    for settings in CLASSES
    for name, field in settings.model_fields.items()
}


def names_in(text: str) -> set[str]:
    """Return every name of ours that a text mentions."""
    return set(_NAME.findall(text))


def parsed(field: FieldInfo, text: str) -> Any:
    """Read a value as the environment would give it."""
    adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
    return adapter.validate_json(text) if text[:1] in ("[", "{") else adapter.validate_python(text)


def default(field: FieldInfo) -> Any:
    """Return the default; `PydanticUndefined` where a value must be given or is made up."""
    return PydanticUndefined if field.default_factory is not None else field.default
