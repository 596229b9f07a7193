"""What operators and load balancers ask: health, status, metrics."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import PlainTextResponse, Response

from src.api.auth.principals import Right
from src.api.dependencies import Limit, ServerStatus, WorkersOf, needs
from src.api.lifespan import Drain
from src.api.schemas.answers import Alive, Ready, json_response
from src.api.schemas.openapi import Responses, answer, problems
from src.api.schemas.status import RoomsReport, ServerReport
from src.swarm.providers.models import ModelsReport
from src.swarm.rooms.workers import WorkersReport

router = APIRouter(tags=["operations"])

_UNREADY: Responses = {503: answer(Ready, "Take this server out of rotation", status=503)[503]}
_STATUS = answer(ServerReport, "Who it is, its peers, its tiers, what it owns and what waits")
_ROOMS = answer(RoomsReport, "How many, and the first of them in order of their ids")
_WORKERS = answer(WorkersReport, "Each of them, and the sums")
_MODELS = answer(ModelsReport, "Each of them, and the sums")
_METRICS: Responses = {
    200: {
        "description": "Metrics in Prometheus' text format",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


@router.get("/health/live", summary="Is the process alive?", responses=answer(Alive, "It answers"))
async def live() -> Response:
    """Answer; nothing else is looked at."""
    return json_response(Alive())


@router.get(
    "/health/ready",
    summary="Does the server take requests?",
    responses=answer(Ready, "It does") | _UNREADY,
)
async def ready(request: Request, status: ServerStatus) -> Response:
    """Say what the probes found. Without one store it still serves what it can: `degraded`."""
    tiers = status.tiers()
    if cast("Drain", request.app.state.drain).begun:
        return json_response(Ready("draining", tiers), 503)
    if not any(tiers.values()):
        return json_response(Ready("unready", tiers), 503)
    return json_response(Ready("ready" if all(tiers.values()) else "degraded", tiers))


@router.get(
    "/status",
    summary="Status of this server",
    dependencies=[needs(Right.READ_OPERATIONS)],
    responses=_STATUS | problems(),
)
async def read_status(status: ServerStatus) -> Response:
    """Say what this server is, sees and holds."""
    return json_response(status.summary())


@router.get(
    "/status/rooms",
    summary="The running conversations of this server",
    dependencies=[needs(Right.READ_OPERATIONS)],
    responses=_ROOMS | problems(),
)
async def read_rooms(status: ServerStatus, limit: Limit = 100) -> Response:
    """Say which version of its config each bot obeys in each of them, and of its team.

    After an edit: the new version as soon as it is obeyed.
    """
    return json_response(status.rooms(limit))


@router.get(
    "/status/workers",
    summary="The servers that host rooms",
    dependencies=[needs(Right.READ_OPERATIONS)],
    responses=_WORKERS | problems(),
)
async def read_workers(workers: WorkersOf) -> Response:
    """Say which servers host rooms, how full they are, who waits, and how many are wanted.

    Any server answers for all, from what it saw last: two seconds old at most.
    """
    return json_response(workers.report())


@router.get(
    "/status/models",
    summary="The models of this server",
    dependencies=[needs(Right.READ_OPERATIONS)],
    responses=_MODELS | problems(),
)
async def read_models(status: ServerStatus) -> Response:
    """Say which models its rooms and calls hear, speak and think with, and who shares them.

    A model is loaded once for each stage, name and options. What they are is not shown.
    """
    return json_response(status.models())


async def metrics(request: Request) -> Response:
    """Give all counters of this server; names begin with `swarmstate_` and end with the unit."""
    registry = cast("CollectorRegistry", request.app.state.metrics)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


for path in ("/metrics", "/api/metrics"):
    router.add_api_route(
        path,
        metrics,
        response_class=PlainTextResponse,
        summary="Metrics of this server",
        dependencies=[needs(Right.READ_OPERATIONS)],
        operation_id=path.strip("/").replace("/", "_"),
        responses=_METRICS | problems(),
    )
