"""The models of one worker: each is loaded once, and shared by all who name it with its options.

    lease = models.lease("tts", "openai/tts-1", {"voice": "coral"}, make)
    model = await lease.loaded()
    ...
    lease.release()

Leases may be taken and released in any thread; neither waits for anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal, cast

import msgspec
import structlog

from src.agents.errors import ProviderFailed
from src.agents.providers.gate import Gate
from src.agents.providers.model import Key, Loaded, Model, resident_bytes
from src.agents.providers.plugins import Plugins
from src.state.background import background
from src.state.buffers import Buffer
from src.swarm.opened import Runtime
from src.swarm.providers.models import ModelItem, ModelsReport

log = structlog.get_logger(__name__)

Stage = Literal["llm", "stt", "tts", "vad"]
Make = Callable[[Mapping[str, Any]], Any]
"""Loads a model with these options, in a thread of its own; it has `aclose`."""

_MOST = 256
_KEPT_S = 120.0
_PATIENCE_S = 10.0
_SWEEP_S = 5.0
_LEAVE_S = 5.0
"""How long models may take to close when the server stops; they are left to the process then."""


class Lease:
    """The right to use one model until `release`."""

    def __init__(self, models: Models, model: Model) -> None:
        self._models, self._model = models, model
        self._released = False

    async def loaded(self) -> Loaded:
        """Return the model when it is loaded; raises what `Model.wait` does."""
        return await self._model.wait()

    def release(self) -> None:
        """Use it no more; the second time is nothing."""
        if not self._released:
            self._released = True
            self._models.released(self._model)


class Models:
    """The models of this worker."""

    def __init__(
        self,
        plugins: Plugins | None = None,
        *,
        most: int = _MOST,
        kept_s: float = _KEPT_S,
        patience_s: float = _PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`most` are loaded at once, each kept for `kept_s` after its last user.

        Who waits for one to be loaded, or for a place at it, waits for `patience_s`.
        """
        self.plugins = Plugins() if plugins is None else plugins
        self._most, self._kept_s, self._clock = most, kept_s, clock
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._models: dict[Key, Model] = {}
        self._gates: dict[tuple[str, str], Gate] = {}
        """Of what the operator bounds: by stage, and the name before the slash."""
        self._closing: set[Model] = set()
        self._loads = self._failed = self._shared = self._refused = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Models]:
        """Close what nobody uses any more, and all of them at the end of the block."""
        try:
            async with background(self._sweep_for_ever()):
                yield self
        finally:
            await self.aclose()

    def show(self, runtime: Runtime) -> None:
        """Have the status and the metrics of this server tell of them."""
        status = runtime.status
        status.models = partial(self.report, runtime.service.server_id)
        status.counted.append(self.counts)
        status.bounded.append(self.buffers)

    def lease(self, stage: Stage, name: str, options: Mapping[str, Any], make: Make) -> Lease:
        """Return a lease of the model; who asks first begins to load it.

        Raises:
            ProviderFailed: as many are loaded as may be, and all of them are used.
            ProviderMissing: the name is no `plugin/model`.
        """
        key = Key(stage, name, msgspec.json.encode(options, order="deterministic"))
        with self._lock:
            model = self._models.get(key)
            if model is None:
                gate = self._gate(key)
                self._make_room(key)
                model = Model(key, lambda: make(options), gate, self._patience_s, self._settled)
                self._models[key] = model
            else:
                self._shared += 1
            model.users += 1
        return Lease(self, model)

    def released(self, model: Model) -> None:
        """Note that one user is gone; see `Lease.release`."""
        with self._lock:
            model.users -= 1
            model.unused_since = self._clock()

    def sweep(self) -> None:
        """Close what nobody has used for long."""
        before = self._clock() - self._kept_s
        with self._lock:
            for model in list(self._models.values()):
                if not model.users and model.loaded and model.unused_since <= before:
                    self._close(model)
            self._closing = {model for model in self._closing if not model.gone(0)}

    async def aclose(self) -> None:
        """Close all."""
        with self._lock:
            for model in list(self._models.values()):
                self._close(model)
            closing, self._closing = self._closing, set()
        deadline = time.monotonic() + _LEAVE_S
        for model in closing:
            left_s = max(0.0, deadline - time.monotonic())
            if not await asyncio.to_thread(model.gone, left_s):
                log.warning("model.left", stage=model.key.stage, name=model.key.name)

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.sweep()

    # -- under the lock --------------------------------------------------------------------------

    def _make_room(self, key: Key) -> None:
        if len(self._models) < self._most:
            return
        unused = [one for one in self._models.values() if not one.users and one.loaded]
        if not unused:
            self._refused += 1
            why = (
                f"{self._most} models are loaded here and all of them are used, as many as "
                "SWARMSTATE_ROOMS_MODELS allows"
            )
            raise ProviderFailed(key.stage, key.name, why)
        self._close(min(unused, key=lambda one: one.unused_since))

    def _close(self, model: Model) -> None:
        del self._models[model.key]
        self._closing.add(model)
        model.close()
        log.info("model.closing", stage=model.key.stage, name=model.key.name)

    def _gate(self, key: Key) -> Gate:
        places = self.plugins.concurrency(key.stage, key.name)
        if places is None:
            return Gate()
        return self._gates.setdefault((key.stage, key.name.partition("/")[0]), Gate(places))

    # -- what there is ---------------------------------------------------------------------------

    def _settled(self, model: Model, is_loaded: bool) -> None:
        """In the model's thread: it is loaded, or is loaded anew when it is asked for again."""
        with self._lock:
            if is_loaded:
                self._loads += 1
            else:
                self._failed += 1
                if self._models.get(model.key) is model:
                    del self._models[model.key]

    def counts(self) -> Mapping[str, float]:
        """Return what came and went, for metrics."""
        return {
            "model_loads": self._loads,
            "failed_model_loads": self._failed,
            "shared_models": self._shared,
        }

    def buffers(self) -> Mapping[str, Buffer]:
        """Return what is bounded here."""
        return {"models": Buffer(len(self._models), self._most, self._refused)}

    def report(self, server_id: str) -> ModelsReport:
        """Describe all of them, in order of stage and name."""
        with self._lock:
            items = sorted(
                (self._item(model) for model in self._models.values()),
                key=lambda one: (one.stage, one.name, one.options),
            )
        return ModelsReport(
            server_id,
            self._most,
            self._loads,
            self._failed,
            self._shared,
            sum(one.memory_bytes for one in items),
            resident_bytes(),
            tuple(items),
        )

    def _item(self, model: Model) -> ModelItem:
        key, gate, loaded = model.key, model.gate, model.loaded
        return ModelItem(
            cast("Stage", key.stage),
            key.name,
            hashlib.sha256(key.options).hexdigest()[:8],
            "loading" if loaded is None else "ready",
            model.users,
            gate.busy,
            gate.waiting,
            gate.places,
            round(time.monotonic() - model.began if loaded is None else loaded.load_s, 3),
            0 if loaded is None else loaded.memory_bytes,
            None if model.users else round(max(0.0, self._clock() - model.unused_since), 3),
        )
