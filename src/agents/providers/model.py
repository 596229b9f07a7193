"""One loaded model, in a thread with an event loop of its own.

A plugin's connections belong to the loop in which they were made, and every room has another one.
So rooms do not use the object itself: what they ask of it runs in its loop, where it was also
loaded, and a model that hangs holds up nobody's sound but that of its users.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import structlog
from livekit.agents.utils import http_context

from src.agents.errors import AgentsError, ProviderFailed
from src.agents.providers.gate import Gate
from src.agents.providers.plugins import close
from src.agents.threads import in_loop, opened_in

log = structlog.get_logger(__name__)

_CLOSE_S = 5.0
_T = TypeVar("_T")


class Key(NamedTuple):
    """What models are told apart by."""

    stage: str
    name: str
    options: bytes
    """As JSON, in one order."""


class Loaded:
    """A model that is loaded; `made` is the plugin's own object."""

    def __init__(
        self,
        key: Key,
        made: Any,
        gate: Gate,
        patience_s: float,
        load_s: float,
        memory_bytes: int,
    ) -> None:
        self.key, self.made = key, made
        self._gate, self._patience_s = gate, patience_s
        self.load_s, self.memory_bytes = load_s, memory_bytes
        self._loop, self._within = asyncio.get_running_loop(), copy_context()
        self._warmed = False

    def prewarm(self) -> None:
        """Let it connect, once for all its users."""
        if not self._warmed:
            self._warmed = True
            self.tell(self.made.prewarm)

    def tell(self, do: Callable[..., object], *given: object) -> None:
        """Do this in the model's loop, after what it was told before. Nobody waits for it.

        What a stream or a loop that has ended does not take any more, nobody misses.
        """
        with suppress(RuntimeError):
            told = partial(_told, do, *given)
            self._loop.call_soon_threadsafe(told, context=self._within.copy())

    async def call(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Await what the model does, in its loop.

        Raises:
            ProviderFailed: it gave that up by itself, or its thread has ended.
            and what the work raises.
        """
        with self._alive():
            return await in_loop(self._loop, work, self._within)

    @asynccontextmanager
    async def opened(self, context: AbstractAsyncContextManager[_T]) -> AsyncIterator[_T]:
        """Hold something of the model's open, in its loop; raises what `call` does."""
        with self._alive():
            async with opened_in(self._loop, context, self._within) as value:
                yield value

    @contextmanager
    def _alive(self) -> Iterator[None]:
        key, task = self.key, asyncio.current_task()
        try:
            yield
        except asyncio.CancelledError as error:
            if task is None or task.cancelling():
                raise
            raise ProviderFailed(key.stage, key.name, "it gave a request up") from error
        except RuntimeError as error:
            if not self._loop.is_closed():
                raise
            raise ProviderFailed(key.stage, key.name, "its thread has ended") from error

    async def each(self, stream: AsyncIterable[_T]) -> AsyncIterator[_T]:
        """Give what comes of a stream of the model's, one at a time as it is taken."""
        items = aiter(stream)
        while (item := await self.call(_next(items))) is not None:
            yield item

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Make one request of it, as one of so many at once.

        Raises:
            ProviderFailed: there was no place for it in time.
        """
        gate, key = self._gate, self.key
        try:
            await gate.enter(self._patience_s)
        except TimeoutError as exc:
            why = (
                f"{gate.places} of its requests are under way, as many as its `concurrency` in "
                "SWARMSTATE_ROOMS_PROVIDERS allows"
            )
            raise ProviderFailed(key.stage, key.name, why) from exc
        try:
            yield
        finally:
            gate.leave()


class Model:
    """A model from the moment that it is first asked for; `Models` counts who uses it."""

    def __init__(
        self,
        key: Key,
        make: Callable[[], Any],
        gate: Gate,
        patience_s: float,
        settled: Callable[[Model, bool], None],
    ) -> None:
        """Begin to load it; `settled` is told first, in its thread, whether it can be used."""
        self.key, self.gate, self.users = key, gate, 0
        self.unused_since = 0.0
        self.began = time.monotonic()
        self._make, self._settled = make, settled
        self._patience_s = patience_s
        self._loaded: Future[Loaded] = Future()
        self._over: Future[None] = Future()
        # A daemon, since a plugin that hangs in it must not keep the process alive.
        self._thread = threading.Thread(
            target=self._run, name=f"{key.stage} {key.name}", daemon=True
        )
        self._thread.start()

    @property
    def loaded(self) -> Loaded | None:
        """What it is when it is loaded; None: it is not, or not yet."""
        done = self._loaded.done() and self._loaded.exception() is None
        return self._loaded.result() if done else None

    async def wait(self) -> Loaded:
        """Return it when it is loaded.

        Raises:
            ProviderMissing, BadProvider: say what to add or to mend.
            ProviderFailed: it cannot be loaded, or not in time.
        """
        if self._loaded.done():
            return self._loaded.result()
        done, loop = asyncio.Event(), asyncio.get_running_loop()

        def tell(_: Future[Loaded]) -> None:
            # Nobody waits any more in a loop that is closed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        self._loaded.add_done_callback(tell)
        try:
            async with asyncio.timeout(self._patience_s):
                await done.wait()
        except TimeoutError as exc:
            why = f"it is being loaded for {time.monotonic() - self.began:.0f} s"
            raise ProviderFailed(self.key.stage, self.key.name, why) from exc
        return self._loaded.result()

    def close(self) -> None:
        """Let it be closed, as soon as it is loaded; nobody waits for it."""
        with suppress(InvalidStateError):
            self._over.set_result(None)

    def gone(self, patience_s: float) -> bool:
        """Say whether its thread has ended; it may take so long."""
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            asyncio.run(self._live())
        # Of whatever kind: also what would end a process ends the model alone.
        except BaseException as error:
            failure = error
        # A loop that ends by itself cancels the wait for that.
        if self._loaded.done() and self._over.done() and not self._over.cancelled():
            return
        # First forgotten, then told: who tries again must begin anew.
        self._settled(self, False)
        if not self._loaded.done():
            if not isinstance(failure, AgentsError):
                failure = ProviderFailed(self.key.stage, self.key.name, repr(failure))
            self._loaded.set_exception(failure)
        else:
            log.error("model.ended", name=self.key.name, error=repr(failure))

    async def _live(self) -> None:
        async with http_context.open():
            loaded = self._load()
            self._settled(self, True)
            self._loaded.set_result(loaded)
            log.info(
                "model.loaded",
                stage=self.key.stage,
                name=self.key.name,
                load_s=round(loaded.load_s, 3),
                memory_bytes=loaded.memory_bytes,
            )
            await asyncio.wrap_future(self._over)
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await close(loaded.made)
            except Exception as error:
                log.warning("model.not_closed", name=self.key.name, error=repr(error))

    def _load(self) -> Loaded:
        began, before = time.monotonic(), resident_bytes()
        made = self._make()
        grown = max(0, resident_bytes() - before)
        took_s = time.monotonic() - began
        return Loaded(self.key, made, self.gate, self._patience_s, took_s, grown)


def resident_bytes() -> int:
    """Return the memory of this process; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _told(do: Callable[..., object], *given: object) -> None:
    # The loop would log the refusal with what was given: what somebody said, perhaps.
    with suppress(RuntimeError):
        do(*given)


async def _next(items: AsyncIterator[_T]) -> _T | None:
    return await anext(items, None)
