"""LiveKit's plugins by name: `plugin/model` is a class of the package livekit-plugins-<plugin>.

Before the slash may also be a name that the operator gave to a plugin with its key and address.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeVar

from src.agents.errors import BadProvider, ProviderMissing
from src.agents.settings import NamedProvider

_T = TypeVar("_T")


class Plugins:
    """Makes LLMs, STTs and TTSs by name."""

    def __init__(self, given: Mapping[str, NamedProvider] = MappingProxyType({})) -> None:
        self._given = given

    def package(self, stage: str, name: str) -> str:
        """Return the plugin behind a name, as Python spells it.

        Raises:
            ProviderMissing: the name is no `plugin/model`.
        """
        plugin, _ = named(stage, name)
        given = self._given.get(plugin)
        return (plugin if given is None else given.plugin).replace("-", "_")

    def concurrency(self, stage: str, name: str) -> int | None:
        """Return how many requests the operator lets be made of a name at once; None: any.

        Raises:
            ProviderMissing: the name is no `plugin/model`.
        """
        given = self._given.get(named(stage, name)[0])
        return None if given is None else given.concurrency

    def make(self, stage: str, name: str, kind: str, options: Mapping[str, Any]) -> Any:
        """Return a plugin's LLM, STT, TTS or realtime.RealtimeModel (`kind`), with options.

        What the operator gave goes before what a config says.

        Raises:
            ProviderMissing: no such package, or it has none of this kind; says what to add.
            BadProvider: it does not take these options.
        """
        plugin, model = named(stage, name)
        given = self._given.get(plugin)
        made = _class(stage, name, self.package(stage, name), kind)
        operators = given.options if given is not None else {}
        return build(stage, name, made, {"model": model, **options, **operators})


def _class(stage: str, name: str, package: str, kind: str) -> Any:
    path, distribution = f"livekit.plugins.{package}", package.replace("_", "-")
    try:
        module = import_module(path)
    except ModuleNotFoundError as exc:
        if exc.name != path and not path.startswith(f"{exc.name}."):
            raise
        hint = f"add the package livekit-plugins-{distribution}"
        raise ProviderMissing(stage, name, hint) from exc
    made: Any = module
    for part in kind.split("."):
        made = getattr(made, part, None)
    if made is None:
        raise ProviderMissing(stage, name, f"livekit-plugins-{distribution} has no {kind}")
    return made


def named(stage: str, name: str) -> tuple[str, str]:
    """Return what is before the slash of a name, and the model after it.

    Raises:
        ProviderMissing: the name is no `plugin/model`.
    """
    plugin, slash, model = name.partition("/")
    if not (plugin and slash and model):
        raise ProviderMissing(stage, name, "write plugin/model, for instance openai/gpt-4o-mini")
    return plugin, model


def build(stage: str, name: str, kind: type[_T], options: dict[str, Any]) -> _T:
    """Return one of a class.

    Raises:
        BadProvider: it does not take these options.
    """
    try:
        return kind(**options)
    except (TypeError, ValueError) as exc:
        raise BadProvider(stage, name, str(exc)) from exc


async def close(made: Any) -> None:
    """Close what a plugin made; some leave the connections open that they made for themselves."""
    await made.aclose()
    # Of openai's STT and anthropic's LLM, for instance; closed twice, nothing happens.
    leave = getattr(getattr(made, "_client", None), "close", None)
    if inspect.iscoroutinefunction(leave):
        await leave()
