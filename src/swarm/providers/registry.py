"""Which provider goes by which name, and which one a bot gets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from src.swarm.configs.bots import OFFLINE, BotConfig
from src.swarm.errors import UnknownProvider
from src.swarm.providers import Provider
from src.swarm.providers.offline import OfflineProvider
from src.swarm.shapes.models import Config


class Registry:
    """Providers by name, `plugin/model`; `offline/rules` is always there."""

    def __init__(self, providers: Mapping[str, Provider] = MappingProxyType({})) -> None:
        self._providers: dict[str, Provider] = {OFFLINE: OfflineProvider(), **providers}

    @property
    def names(self) -> tuple[str, ...]:
        """The names that `get` knows, sorted."""
        return tuple(sorted(self._providers))

    def get(self, name: str) -> Provider:
        """Return the provider of this name.

        Raises:
            UnknownProvider: says which package or setting would bring it.
        """
        provider = self._providers.get(name)
        if provider is None:
            raise UnknownProvider(name, self.names, _hint(name))
        return provider

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
    return f"add the package livekit-plugins-{plugin}, or set providers.llm to {OFFLINE}"
