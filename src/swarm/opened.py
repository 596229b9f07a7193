"""What an open server gives to its edges, the HTTP API and the voice rooms."""

from __future__ import annotations

from dataclasses import dataclass

from src.invalidation.changes import ChangeFeed
from src.state.rates import Rates
from src.state.records.first_answers import FirstAnswers
from src.state.records.people import People
from src.swarm.dialogue.host import Host
from src.swarm.erasing import Erasing
from src.swarm.files import FileService
from src.swarm.internal_tokens import InternalTokens
from src.swarm.rooms.finalising import Finaliser
from src.swarm.rooms.service import RoomService
from src.swarm.rooms.workers import Workers
from src.swarm.service import SwarmService
from src.swarm.status import Status
from src.swarm.transfers import Transfers
from src.swarm.webhooks.service import WebhookService


@dataclass(slots=True)
class Runtime:
    """The parts of a server that an edge may call; they end with `open_runtime`."""

    service: SwarmService
    host: Host
    status: Status
    tokens: InternalTokens
    first_answers: FirstAnswers
    rates: Rates
    changes: ChangeFeed
    files: FileService | None
    """None without a place for their bytes."""
    webhooks: WebhookService
    people: People
    erasing: Erasing
    downloads: Transfers
    """Of files and of whole conversations together."""
    rooms: RoomService | None
    """None without a LiveKit."""
    workers: Workers
    sessions: Finaliser
