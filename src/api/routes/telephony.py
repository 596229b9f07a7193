"""The doors of telephone companies: a call by WebSocket, for the team that the path names."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Path, WebSocket

from src.api import headers
from src.api.auth.principals import Role, principal
from src.api.dependencies import ID, Service, Settings
from src.api.errors import NotConfigured, Unauthorized, Unavailable
from src.api.lifespan import Drain
from src.api.rate_limits import RateLimits
from src.api.settings import ApiSettings
from src.api.streams import Streams
from src.api.telephony import twilio
from src.api.telephony.phone_call import PhoneCall
from src.state.errors import NotFound
from src.swarm.rooms.calls import Calls
from src.swarm.service import SwarmService

router = APIRouter(prefix="/agent/voice", tags=["live"])

_TWILIO = "twilio"
Workflow = Annotated[str, Path(pattern=ID, description="The team that answers")]


@router.websocket("/{service}/{workflow}")
async def call(
    websocket: WebSocket,
    swarm: Service,
    settings: Settings,
    service: Annotated[str, Path(pattern=ID)],
    workflow: Workflow,
) -> None:
    """Answer a call that a telephone company brings."""
    if service != _TWILIO:
        raise NotFound("telephone service", service)
    await _answer(websocket, swarm, settings, workflow)


@router.websocket("/twilio/callback/{workflow}")
async def call_back(
    websocket: WebSocket, swarm: Service, settings: Settings, workflow: Workflow
) -> None:
    """Take part in a call that was made from here; the same protocol."""
    await _answer(websocket, swarm, settings, workflow)


async def _answer(
    websocket: WebSocket, service: SwarmService, settings: ApiSettings, team: str
) -> None:
    await _check_signature(websocket, settings)
    state = websocket.app.state
    if cast("Drain", state.drain).begun:
        raise Unavailable("this server is going away; call again")
    calls = cast("Calls | None", state.calls)
    if calls is None:
        raise NotConfigured("this server takes no calls: start it with `swarmstate serve --rooms`")
    await service.configs.get("team", team)
    caller = principal(_TWILIO, (Role.SERVICE,), float("inf"))
    with cast("Streams", state.streams).session(caller):
        await websocket.accept()
        await PhoneCall(websocket, service, calls, team, _TWILIO).run()


async def _check_signature(websocket: WebSocket, settings: ApiSettings) -> None:
    """Let Twilio in, and nobody else: before that nothing is told, and no socket is open.

    Raises:
        NotConfigured: nobody could be believed.
        Unauthorized, RateLimited: it is not signed by Twilio for this address.
    """
    secret, base = settings.twilio_secret, settings.twilio_url
    if secret is None or base is None:
        raise NotConfigured(
            "calls of Twilio need SWARMSTATE_API_TWILIO_SECRET and SWARMSTATE_API_TWILIO_URL"
        )
    found = headers.find(websocket.scope["headers"], b"x-twilio-signature")
    given = None if found is None else found.decode("latin-1")
    url = base.rstrip("/") + websocket.url.path
    if not twilio.is_signed(secret.get_secret_value(), url, given):
        await cast("RateLimits", websocket.app.state.rate_limits).stranger(websocket)
        raise Unauthorized(f"X-Twilio-Signature does not sign {url} with our secret")
