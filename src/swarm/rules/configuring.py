"""The config of a conversation: what a merge patch may make of it."""

from __future__ import annotations

from typing import Any

import msgspec

from src.state.errors import Refused
from src.swarm.shapes import bounds, free_json
from src.swarm.shapes.accepting import accepted_config
from src.swarm.shapes.commands import PatchConfig
from src.swarm.shapes.config import Config
from src.swarm.shapes.events import ConfigChanged
from src.swarm.shapes.models import ConversationState

_decoder = msgspec.json.Decoder(Config)


def patch(state: ConversationState, command: PatchConfig) -> tuple[ConfigChanged, ...]:
    """Decide the config after a merge patch; nothing if it is the same.

    Raises:
        Refused: the result is no valid config; names the place in it.
    """
    given = free_json.accept_map(
        command.patch, dict[str, Any], "patch", max_bytes=bounds.REST_BYTES
    )
    wanted = free_json.read(given)
    before = free_json.read(free_json.write(state.config))
    after = free_json.write(free_json.merge_patch(before, wanted))
    try:
        decoded = _decoder.decode(after)
    except msgspec.ValidationError as exc:
        raise Refused("invalid", f"patch: {exc}", field=free_json.place(exc, "patch")) from exc
    config = accepted_config(decoded, "patch")
    changed = tuple(
        field.encode_name
        for field in msgspec.structs.fields(Config)
        if getattr(config, field.name) != getattr(state.config, field.name)
    )
    return (ConfigChanged(config, changed),) if changed else ()
