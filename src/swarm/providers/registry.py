"""Which provider goes by which name, and which one a bot gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from src.swarm.configs.bots import OFFLINE, BotConfig
from src.swarm.errors import UnknownProvider
from src.swarm.providers import OwnProvider, Provider, ReplyRequest
from src.swarm.providers.offline import OfflineProvider
from src.swarm.shapes.config import Config

_FOUND = 256
"""Providers that are made by their names; a config may not name ever new ones."""

Stage: TypeAlias = Literal["llm", "realtime"]
Find = Callable[[Stage, str], OwnProvider | None]
"""Makes the provider of a name; None: nobody here knows it."""


class Registry:
    """Providers by name, `plugin/model`; `offline/rules` is always there."""

    def __init__(
        self, providers: Mapping[str, Provider] = MappingProxyType({}), find: Find | None = None
    ) -> None:
        self._providers: dict[str, Provider] = {OFFLINE: OfflineProvider(), **providers}
        self._find = find
        self._found: dict[tuple[Stage, str], OwnProvider] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names that `get` knows, sorted."""
        return tuple(sorted(self._providers))

    def get(self, name: str, stage: Stage = "llm") -> Provider:
        """Return the provider of this name.

        Raises:
            UnknownProvider: says which package or setting would bring it.
        """
        given = self._providers.get(name) if stage == "llm" else None
        provider = given or self._found.get((stage, name))
        if provider is None and self._find is not None and len(self._found) < _FOUND:
            found = self._find(stage, name)
            if found is not None:
                provider = self._found[stage, name] = found
        if provider is None:
            raise UnknownProvider(name, self.names, _hint(stage, name))
        return provider

    async def aclose(self) -> None:
        """Close the providers that were made here."""
        for provider in self._found.values():
            await provider.aclose()

    def chain(self, request: ReplyRequest) -> tuple[tuple[Stage, str], ...]:
        """Return what to try for a reply, in order: a voice's own model, then language models."""
        realtime: tuple[tuple[Stage, str], ...] = (
            (("realtime", request.voiced.realtime),) if request.voiced.realtime else ()
        )
        words = self.language_models(request.bot, request.state.config)
        return (*realtime, *(("llm", name) for name in words))

    def language_models(self, bot: BotConfig, config: Config) -> tuple[str, ...]:
        """Return the names of the language models to try for a bot, in order, each once.

        The bot's own and its fallbacks; without any the conversation's; without any the script.
        """
        own = (bot.providers.llm, *bot.providers.fallback)
        shared = (config.llm_config.model, *config.llm_config.fallback)
        for names in (own, shared):
            chosen = tuple(dict.fromkeys(filter(None, names)))
            if chosen:
                return chosen
        return (OFFLINE,)


def _hint(stage: Stage, name: str) -> str:
    plugin, slash, model = name.partition("/")
    instead = f"set it to {OFFLINE}" if stage == "llm" else "leave it empty"
    if not (plugin and slash and model):
        return f"set providers.{stage} to plugin/model, or {instead}"
    return (
        f"add the package livekit-plugins-{plugin} to a server with --rooms, or set "
        f"providers.{stage} to another: {instead} to need none"
    )
