"""Runs one server process: takes the port, joins the others, answers until told to stop, drains.

The port is taken before anything else is opened, so that a server that cannot listen never joins.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, nullcontext
from typing import Protocol

import structlog
import uvicorn
import uvloop
from pydantic import SecretStr

from src.api.app import Api, create_app
from src.api.lifespan import internal_secret
from src.api.livekit.opening import open_media
from src.api.settings import ApiSettings
from src.api.strictness import check_strict
from src.state.background import background
from src.state.guards import ALL_ON, Guards
from src.state.settings import StateSettings
from src.swarm.handover import Handover
from src.swarm.opened import Runtime
from src.swarm.providers import OwnProvider
from src.swarm.providers.registry import Stage
from src.swarm.rooms.calls import Calls
from src.swarm.runtime import open_runtime
from src.swarm.settings import RuntimeSettings, SwarmSettings

log = structlog.get_logger(__name__)

_BACKLOG = 2048
_FILES = 65_536
_HAND_OVER_S = 8.0
"""How long a server that was told to stop may take to give what it owns to the others."""
_LAST_ANSWERS_S = 8
"""How long requests under way may take once it takes no new ones."""
_ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  # compared with, never listened on by default
_STOP = (signal.SIGINT, signal.SIGTERM)
_YOUNG = 10_000
"""Objects made between two looks of the garbage collector. Python's own 700 is a handful of turns:
those under way are taken for old ones then, and that many old ones have everything looked at."""


class CannotListen(Exception):
    """The address cannot be listened on; the message says why and what to try."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(
            f"cannot listen on {host} port {port}: {why}. Stop what listens there, or choose "
            "another port: --port, or SWARMSTATE_API_PORT (0 takes a free one)"
        )
        self.host, self.port = host, port


def listen(host: str, port: int) -> socket.socket:
    """Take the port.

    Raises:
        CannotListen: it is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restarted server must not wait for its predecessor's connections to be forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Here and not by uvicorn: only listening tells for certain that nobody else does.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(host, port, error.strerror or str(error)) from error
    return listener


def runtime_settings(api: ApiSettings, listener: socket.socket) -> RuntimeSettings:
    """Complete the settings from the environment by what follows from others.

    Without SWARMSTATE_SERVER_URL the address is where we listen; without
    SWARMSTATE_INTERNAL_SECRET the secret is derived from the users' one.

    Raises:
        pydantic.ValidationError: a setting is missing or bad; it is named.
        LaxSettings: one is too lax for production.
    """
    swarm = SwarmSettings()
    derived: dict[str, object] = {}
    if "internal_secret" not in swarm.model_fields_set:
        secret = internal_secret(api.jwt_secret.get_secret_value())
        derived["internal_secret"] = SecretStr(secret)
    if "server_url" not in swarm.model_fields_set:
        derived["server_url"] = address(listener)
    settings = RuntimeSettings(StateSettings(), swarm.model_copy(update=derived))
    check_strict(api, settings)
    return settings


def address(listener: socket.socket) -> str:
    """Return the URL under which others reach a listening socket."""
    host, port = listener.getsockname()[:2]
    return url_of(host, port, anywhere=socket.gethostname())


def url_of(host: str, port: int, *, anywhere: str) -> str:
    """Return the URL of a server; of one that listens on every address, at `anywhere`."""
    host = anywhere if host in _ANYWHERE else host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Worker(Protocol):
    """Hosts conversations beside the API: LiveKit's jobs, or calls."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Take them for the length of the block."""
        ...

    async def stop(self) -> None:
        """Take no more, and end what is left within a bounded time."""
        ...


class CallWorker(Worker, Calls, Protocol):
    """Takes calls."""


class Rooms(Protocol):
    """What a server that hosts rooms has more; the agents room makes it."""

    def find_provider(self, stage: Stage, name: str) -> OwnProvider | None:
        """Return the provider of a name; None: it is not known."""
        ...

    def running(self) -> AbstractAsyncContextManager[object]:
        """Keep what providers and workers share for the length of the block."""
        ...

    def worker(self, runtime: Runtime) -> Worker | None:
        """Make the worker of a server that is open; None: there is no LiveKit to work for."""
        ...

    def calls(self, runtime: Runtime) -> CallWorker:
        """Make what takes the calls of a server that is open."""
        ...


def run(
    api: ApiSettings,
    settings: RuntimeSettings,
    listener: socket.socket,
    *,
    guards: Guards = ALL_ON,
    rooms: Rooms | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain: nothing acknowledged waits only here any more.

    Raises:
        DurableTierUnavailable, SharedTierUnavailable: a store does not answer; it is named.
    """
    allow_connections()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(api, settings, listener, guards, rooms))


def allow_connections() -> None:
    """Let this process open as many files as it may: many systems begin with 1024.

    Each client is one, and each stream or live session stays one for long.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def calm_collector() -> None:
    """Have the garbage collector stop the loop seldom: a look at everything holds up all rooms.

    What the server is made of stays for good, and is not looked at again. It takes about 0.3 s for
    a thousand streams, and what it finds are a few objects: most garbage needs no look at all.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


async def _serve(
    api: ApiSettings,
    settings: RuntimeSettings,
    listener: socket.socket,
    guards: Guards,
    rooms: Rooms | None,
) -> None:
    livekit = settings.livekit
    find = None if rooms is None else rooms.find_provider
    async with (
        nullcontext() if rooms is None else rooms.running(),
        open_media(livekit) as media,
        open_runtime(settings, guards=guards, find_provider=find, media=media) as runtime,
    ):
        calls = None if rooms is None else rooms.calls(runtime)
        worker = None if rooms is None else rooms.worker(runtime)
        workers: list[Worker] = [one for one in (calls, worker) if one is not None]
        app = create_app(api, lambda: nullcontext(runtime), livekit, calls)
        server = _Server(app)
        told = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop() -> None:
            # Told twice, it goes at once: what it owns is then given up after the last answer.
            if told.is_set():
                server.stop()
            app.drain.announce()
            told.set()

        for number in _STOP:
            loop.add_signal_handler(number, stop)
        leaving = _leave_when_told(told, runtime.service.handover, server, workers)
        async with AsyncExitStack() as stack:
            for one in workers:
                await stack.enter_async_context(one.running())
            await stack.enter_async_context(background(leaving))
            calm_collector()
            log.info("server.listening", url=address(listener))
            await server.serve(sockets=[listener])


async def _leave_when_told(
    told: asyncio.Event, handover: Handover, server: _Server, workers: Sequence[Worker]
) -> None:
    """Give everything to the others while requests are still answered, then stop."""
    await told.wait()
    try:
        # Before their conversations go: a room that goes on would fetch its own back.
        await asyncio.gather(*(one.stop() for one in workers))
        async with asyncio.timeout(_HAND_OVER_S):
            await handover.leave()
    except TimeoutError:
        # The rest is given up after the last answer: its writers have to try again until then.
        log.warning("handover.incomplete", seconds=_HAND_OVER_S)
    finally:
        server.stop()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before the drain."""

    def __init__(self, app: Api) -> None:
        settings: ApiSettings = app.state.settings
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                # The application knows whom to believe (SWARMSTATE_API_TRUSTED_PROXIES).
                proxy_headers=False,
                timeout_graceful_shutdown=_LAST_ANSWERS_S,
                # Unpacked; a session refuses by characters, of four bytes each at the most.
                ws_max_size=4 * settings.max_body_bytes,
            )
        )
        self._app = app

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """End streams, finish what is under way, take no new connections."""
        self._app.drain.begin()
        self.should_exit = True
