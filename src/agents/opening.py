"""Opens the agents room beside a server's API: plugins first, then who takes jobs and calls.

Importing it loads LiveKit's libraries: two seconds, and 140 MB. A server without rooms does not.
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib import import_module

import livekit
import structlog

from src.agents.calls import CallHosting
from src.agents.errors import ProviderMissing
from src.agents.providers.language import LanguageModel
from src.agents.providers.models import Models
from src.agents.providers.plugins import Plugins
from src.agents.providers.realtime import RealtimeVoice
from src.agents.settings import RoomsSettings
from src.agents.worker import Worker
from src.swarm.opened import Runtime
from src.swarm.providers.registry import Stage
from src.swarm.rooms.settings import LiveKitSettings

log = structlog.get_logger(__name__)


class Rooms:
    """What `swarmstate serve --rooms` adds to a server."""

    def __init__(self) -> None:
        """Read the settings, and load the plugins: that must be before a thread asks for one."""
        # LiveKit would load weights of 244 MB for the ends of turns, and no session here has them.
        os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
        self._settings, self._livekit = RoomsSettings(), LiveKitSettings()
        if not self._livekit.configured:
            log.warning("rooms.calls_only", why="SWARMSTATE_LIVEKIT_URL is not set")
        self._plugins = Plugins(self._settings.providers)
        self._models = Models(
            self._plugins,
            most=self._settings.models,
            kept_s=self._settings.models_kept.total_seconds(),
        )
        self.loaded = load_plugins()
        log.info("rooms.plugins", plugins=self.loaded, named=sorted(self._settings.providers))

    def find_provider(self, stage: Stage, name: str) -> LanguageModel | RealtimeVoice | None:
        """Return the model of a name whose plugin is loaded; None: it is not."""
        try:
            package = self._plugins.package(stage, name)
        except ProviderMissing:
            return None
        if package not in self.loaded:
            return None
        if stage == "llm":
            return LanguageModel(name, self._models)
        return RealtimeVoice(name, self._plugins)

    def running(self) -> AbstractAsyncContextManager[object]:
        """Keep models for the length of the block; nothing of them is used any more at its end."""
        return self._models.running()

    def worker(self, runtime: Runtime) -> Worker | None:
        """Make the worker of a server that is open; None: there is no LiveKit to work for."""
        if not self._livekit.configured:
            return None
        return Worker(runtime, self._settings, self._livekit, self._models)

    def calls(self, runtime: Runtime) -> CallHosting:
        """Make what takes the calls of a server that is open."""
        self._models.show(runtime)
        return CallHosting(runtime, self._settings, self._models)


def load_plugins() -> Sequence[str]:
    """Import every LiveKit plugin that is installed; return their names, as in `plugin/model`."""
    paths = [f"{path}/plugins" for path in livekit.__path__]
    names = sorted(found.name for found in pkgutil.iter_modules(paths))
    for name in names:
        import_module(f"livekit.plugins.{name}")
    return [name.replace("_", "-") for name in names]
