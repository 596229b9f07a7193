"""LiveKit's plugins by name: `plugin/model` is a class of the package livekit-plugins-<plugin>."""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeVar

from src.agents.errors import BadProvider, ProviderMissing

_T = TypeVar("_T")


def plugin(stage: str, name: str, kind: str, options: dict[str, Any]) -> Any:
    """Return a plugin's LLM, STT, TTS (`kind`) with a model and options.

    Raises:
        ProviderMissing: no such package, or it has none of this kind; says what to add.
        BadProvider: it does not take these options.
    """
    package, model = named(stage, name)
    path = f"livekit.plugins.{package.replace('-', '_')}"
    try:
        module = import_module(path)
    except ModuleNotFoundError as exc:
        if exc.name != path and not path.startswith(f"{exc.name}."):
            raise
        hint = f"add the package livekit-plugins-{package.replace('_', '-')}"
        raise ProviderMissing(stage, name, hint) from exc
    made = getattr(module, kind, None)
    if made is None:
        raise ProviderMissing(stage, name, f"livekit-plugins-{package} has no {kind}")
    return build(stage, name, made, {"model": model, **options})


def named(stage: str, name: str) -> tuple[str, str]:
    """Return the plugin and the model of a name.

    Raises:
        ProviderMissing: the name is no `plugin/model`.
    """
    plugin, slash, model = name.partition("/")
    if not (plugin and slash and model):
        raise ProviderMissing(stage, name, "write plugin/model, for instance openai/gpt-4o-mini")
    return plugin.replace("_", "-"), model


def build(stage: str, name: str, kind: type[_T], options: dict[str, Any]) -> _T:
    """Return one of a class.

    Raises:
        BadProvider: it does not take these options.
    """
    try:
        return kind(**options)
    except (TypeError, ValueError) as exc:
        raise BadProvider(stage, name, str(exc)) from exc
