"""What holds in a conversation, and where each value comes from."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from src.api import headers
from src.api.auth.rules import check_read
from src.api.dependencies import AtLeast, Caller, ConversationId, Service
from src.api.schemas.answers import json_response
from src.api.schemas.effective import EffectiveConfig, answer_of
from src.api.schemas.openapi import answer, problems
from src.swarm.configs import inheritance

router = APIRouter(prefix="/conversations", tags=["conversations"])


@router.get(
    "/{conversation_id}/effective-config",
    summary="Read what holds in a conversation",
    responses=answer(EffectiveConfig, "What holds now, with origins") | problems(404),
)
async def read_effective(
    conversation_id: ConversationId, service: Service, caller: Caller, at_least: AtLeast
) -> Response:
    """Read what its rules obey: limits within their caps, scheduling, policy, responder, providers.

    Each of `values` says where it comes from: a global setting, a team (both with their version),
    the conversation, or the default; and what was set, if that is beyond the hard cap.
    """
    found = await service.read(conversation_id, at_least=at_least)
    state, version = found.entry.state, found.entry.version
    check_read(caller, state)
    above = await service.in_force.inherited(state, exact=True)
    return json_response(
        answer_of(
            state.id,
            version.token,
            inheritance.effective(state.config, above),
            inheritance.values(state.config, above),
        ),
        headers={
            "X-Swarm-Version": version.token,
            "X-Swarm-Tier": found.where.value,
            "X-Swarm-Freshness": headers.freshness(found.stale_s).decode(),
        },
    )
