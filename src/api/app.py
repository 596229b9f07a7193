"""The application: its layers from the outside in, and its routes.

TrustedProxies  the client's own address, when it comes through them
KnownHosts      400 for other hosts, when there is a list of them
HotReads        answers what L1 has, ahead of everything
Around          request id, security headers, access log
BodyLimit       413, 408
CORS            when origins are allowed
FastAPI         routing, validation, the table of errors
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, cast

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from src.api import metrics, problems
from src.api.auth.door import Door
from src.api.auth.tokens import Tokens
from src.api.hot_reads import HotReads
from src.api.lifespan import Drain, Opened, OpenRuntime, lifespan, runtime_from_environment
from src.api.middleware import Around, BodyLimit, KnownHosts, Traffic
from src.api.rate_limits import RateLimits
from src.api.routes import (
    api_keys,
    auth,
    changes,
    configs,
    conversations,
    effective_config,
    events,
    files,
    history,
    internal,
    live,
    livekit_webhook,
    operations,
    room_tokens,
    rooms,
    sessions,
    telephony,
    turns,
    users,
    voice,
    webhooks,
)
from src.api.schemas import openapi
from src.api.settings import ApiSettings
from src.api.streams import Streams
from src.swarm.rooms.calls import Calls
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.status import Status

_SENT = [
    "Authorization",
    "Content-Digest",
    "Content-Disposition",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Range",
    "X-Checksum-SHA256",
    "X-File-Name",
    "X-Request-Id",
    "X-Swarm-Durability",
    "X-Swarm-Version",
]
_SHOWN = [
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Repr-Digest",
    "Retry-After",
    "X-Request-Id",
    "X-Swarm-Durability",
    "X-Swarm-Freshness",
    "X-Swarm-Tier",
    "X-Swarm-Version",
]
_TAGS = [
    {"name": "conversations", "description": "One state that all bots and people of a room share"},
    {"name": "turns", "description": "What was said"},
    {"name": "events", "description": "The log, as pages and as a stream"},
    {"name": "history", "description": "The past: as it was then, and branches from there"},
    {"name": "files", "description": "What belongs to a conversation and is no text"},
    {"name": "rooms", "description": "A conversation's voice: rooms on LiveKit, tokens for them"},
    {"name": "bots", "description": "Configs of bots, with versions"},
    {"name": "teams", "description": "Configs of teams, with versions"},
    {"name": "routines", "description": "Steps that runs carry out, with versions"},
    {"name": "subtopics", "description": "What a tutor teaches, with versions"},
    {"name": "settings", "description": "What every conversation inherits, with versions"},
    {"name": "changes", "description": "What was committed to configs, for consumers outside"},
    {"name": "webhooks", "description": "The same, sent to you and signed"},
    {"name": "people", "description": "Users, their sessions and profiles; keys of services"},
    {"name": "operations", "description": "Health, status, metrics"},
]
_DESCRIPTION = (
    "The state backbone of multi-bot voice rooms. Any server answers any request; writes are sent "
    "on to the conversation's owner. Send the version of your last write as X-Swarm-Version to "
    "read it back from any server. Errors are application/problem+json (RFC 9457). Live sessions: "
    "WebSocket /ws/live?conversation_id=..."
)


class Api(FastAPI):
    """FastAPI behind the layers that must come before its own."""

    front: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.front is None:
            await super().__call__(scope, receive, send)
        else:
            await self.front(scope, receive, send)

    async def behind(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what the layers in front let through."""
        await super().__call__(scope, receive, send)

    @property
    def drain(self) -> Drain:
        """Ends event streams and live sessions; call `drain.begin()` before the server stops."""
        drain: Drain = self.state.drain
        return drain


def create_app(
    settings: ApiSettings | None = None,
    open_runtime: OpenRuntime | None = None,
    livekit: LiveKitSettings | None = None,
    calls: Calls | None = None,
) -> Api:
    """Return the application of one server; without `calls` it takes no sound.

    Settings that are not given are read from the environment. `open_runtime` opens what the API
    stands on, for the length of the application's life; by default a runtime from the environment.

    Raises:
        pydantic.ValidationError: a setting is missing or bad; it is named.
    """
    # pydantic-settings fills required fields from the environment.
    settings = settings or ApiSettings()
    given = settings
    drain, traffic = Drain(), Traffic()
    status: list[Status] = []
    tokens = Tokens(settings.jwt_secret.get_secret_value())
    door = Door(tokens, max_remembered=settings.verified_tokens)

    def opened(runtime: Opened) -> None:
        status[:] = [runtime.status]

    app = Api(
        title="swarmstate",
        version=version("swarmstate"),
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        openapi_url="/api/v1/openapi.json",
        docs_url="/docs" if settings.profile == "development" else None,
        redoc_url="/redoc" if settings.profile == "development" else None,
        redirect_slashes=False,
        lifespan=lifespan(
            open_runtime or (lambda: runtime_from_environment(given)),
            drain,
            opened,
            settings,
            livekit or LiveKitSettings(),
            door,
        ),
    )
    app.state.settings, app.state.door, app.state.calls = settings, door, calls
    app.state.drain, app.state.traffic = drain, traffic
    app.state.streams = Streams(traffic, settings.streams_per_caller)
    limits = app.state.rate_limits = RateLimits(settings)
    app.state.metrics = metrics.registry(
        metrics.ServerMetrics(traffic, lambda: status[0] if status else None)
    )
    _add_routes(app)
    problems.install(app)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]  # FastAPI's own way
    app.front = _front(app.behind, settings, door, traffic, limits)
    return app


def _add_routes(app: FastAPI) -> None:
    # Routes are tried one by one, for each request: first those that every write may come by.
    app.include_router(internal.router)
    v1 = APIRouter(prefix="/api/v1")
    # Before the conversations' own: /save-turn is no id.
    for room in (turns, sessions, events, history, files, effective_config, conversations):
        v1.include_router(room.router)
    people = (auth.router, users.router, api_keys.router)
    for router in (*configs.ROUTERS, changes.router, livekit_webhook.router, webhooks.router):
        v1.include_router(router)
    for router in (*people, rooms.router, voice.router, telephony.router):
        v1.include_router(router)
    app.include_router(v1)
    app.include_router(room_tokens.router)
    app.include_router(voice.router)
    app.include_router(telephony.router)
    app.include_router(live.router)
    app.include_router(live.router, prefix="/api/v1")
    app.include_router(operations.router)


def _front(
    app: ASGIApp, settings: ApiSettings, door: Door, traffic: Traffic, limits: RateLimits
) -> ASGIApp:
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=_SENT,
            expose_headers=_SHOWN,
            max_age=600,
        )
    app = BodyLimit(
        app,
        settings.max_body_bytes,
        settings.file_patience.total_seconds(),
        {"/api/v1" + files.UPLOADS: settings.max_file_bytes},
    )
    app = HotReads(Around(app, traffic), door, traffic, limits)
    if settings.allowed_hosts:
        app = KnownHosts(app, settings.allowed_hosts)
    if settings.trusted_proxies:
        # uvicorn has types of its own for the same ASGI.
        inner: Any = app
        app = cast("ASGIApp", ProxyHeadersMiddleware(inner, list(settings.trusted_proxies)))
    return app
