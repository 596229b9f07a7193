"""What an act has to work with: two servers, clients on both, a look from outside, the screen."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from src.demo.client import Client, Ledger
from src.demo.outside import Outside
from src.demo.processes import ServerProcess
from src.demo.promises import Latency
from src.demo.screen import Audience


class Stage:
    """Handed from act to act; acts leave their figures here."""

    def __init__(
        self,
        servers: Sequence[ServerProcess],
        clients: Sequence[Client],
        ledger: Ledger,
        outside: Outside,
        audience: Audience,
    ) -> None:
        self.a, self.b = clients
        self.process_a, self.process_b = servers
        self.ledger = ledger
        self.outside = outside
        self.audience = audience
        self.tiers: list[Latency] = []
        self.figures: dict[str, float] = {}

    def show_tier(self, latency: Latency) -> None:
        """Keep and show what one tier answered."""
        self.tiers.append(latency)
        self.audience.tier(latency)


def milliseconds(seconds: Sequence[float]) -> tuple[float, float]:
    """Return median and worst, in milliseconds."""
    return round(statistics.median(seconds) * 1000, 2), round(max(seconds) * 1000, 2)


PEOPLE = (
    {"id": "zoe", "kind": "person", "name": "Zoe"},
    {"id": "max", "kind": "person", "name": "Max"},
)
