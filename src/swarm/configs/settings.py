"""Global settings: what every conversation inherits, one value under each known key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from src.state.errors import Refused
from src.swarm.configs.bots import ProviderNames, accepted_providers
from src.swarm.configs.decoding import SCHEMA, Part, Schema, decoded
from src.swarm.shapes import free_json
from src.swarm.shapes.bounds import Note
from src.swarm.shapes.config import MAPS, Policy, ResponderRules, Scheduling
from src.swarm.shapes.limits import Limits

VALUES: Mapping[str, type[msgspec.Struct]] = {
    "limits": Limits,
    "scheduling": Scheduling,
    "policy": Policy,
    "responder": ResponderRules,
    "providers": ProviderNames,
}
"""Key of a setting -> the type of its value. The key is the setting's id."""


class SettingConfig(Part, frozen=True, gc=False):
    """A global setting; what kind of `value` it has, its id says."""

    value: Raw
    schema: Schema = SCHEMA
    description: Note = ""


_settings = msgspec.json.Decoder(SettingConfig)
_maps = {name: kind for _, name, kind in MAPS}
_values = {key: msgspec.json.Decoder(kind) for key, kind in VALUES.items()}


def decode_setting(key: str, body: bytes) -> SettingConfig:
    """Return the setting in these bytes, canonical.

    Raises:
        Refused: no known key, or a value of a wrong type; names the field.
    """
    if key not in VALUES:
        detail = f"there is no setting {key!r}; there are {', '.join(VALUES)}"
        raise Refused("unknown_setting", detail, field="id")
    setting = decoded(_settings, body)
    try:
        given = _values[key].decode(setting.value)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        # It may be a value of another setting: what it has to be hangs on the key.
        raise Refused("unfit_value", f"value: {exc}", field=free_json.place(exc, "value")) from exc
    return replace(setting, value=free_json.write(_accepted(given)))


def value_of(key: str, setting: SettingConfig) -> Any:
    """Return the value of a setting, of the type in `VALUES`."""
    return _values[key].decode(setting.value)


def _accepted(value: msgspec.Struct) -> msgspec.Struct:
    match value:
        case Scheduling(tool_delays=given):
            return replace(value, tool_delays=_map(given, "tool_delays"))
        case ResponderRules(keywords=given):
            return replace(value, keywords=_map(given, "keywords"))
        case ProviderNames():
            return accepted_providers(value, "value")
        case _:
            return value


def _map(raw: Raw, name: str) -> Raw:
    return free_json.accept_map(raw, _maps[name], f"value.{name}")
