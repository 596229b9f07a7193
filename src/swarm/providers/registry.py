"""Which provider goes by which name, and which one a bot gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from src.swarm.configs.bots import OFFLINE, BotConfig
from src.swarm.errors import UnknownProvider
from src.swarm.providers import OwnProvider, Provider
from src.swarm.providers.offline import OfflineProvider
from src.swarm.shapes.models import Config

_FOUND = 256
"""Providers that are made by their names; a config may not name ever new ones."""

Find = Callable[[str], OwnProvider | None]
"""Makes the provider of a name; None: nobody here knows it."""


class Registry:
    """Providers by name, `plugin/model`; `offline/rules` is always there."""

    def __init__(
        self, providers: Mapping[str, Provider] = MappingProxyType({}), find: Find | None = None
    ) -> None:
        self._providers: dict[str, Provider] = {OFFLINE: OfflineProvider(), **providers}
        self._find = find
        self._found: dict[str, OwnProvider] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names that `get` knows, sorted."""
        return tuple(sorted(self._providers))

    def get(self, name: str) -> Provider:
        """Return the provider of this name.

        Raises:
            UnknownProvider: says which package or setting would bring it.
        """
        provider = self._providers.get(name) or self._found.get(name)
        if provider is None and self._find is not None and len(self._found) < _FOUND:
            found = self._find(name)
            if found is not None:
                provider = self._found[name] = found
        if provider is None:
            raise UnknownProvider(name, self.names, _hint(name))
        return provider

    async def aclose(self) -> None:
        """Close the providers that were made here."""
        for provider in self._found.values():
            await provider.aclose()

    def chain(self, bot: BotConfig, config: Config) -> tuple[str, ...]:
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


def _hint(name: str) -> str:
    plugin, slash, model = name.partition("/")
    if not (plugin and slash and model):
        return f"set providers.llm to plugin/model, for instance {OFFLINE}"
    return (
        f"add the package livekit-plugins-{plugin} to a server with --rooms, or set "
        f"providers.llm to {OFFLINE}"
    )
