"""What a server can say of itself, for operators and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from src.invalidation.listener import Listener
from src.invalidation.publisher import Announcer
from src.state.aggregates import Aggregates
from src.state.buffers import Buffer
from src.state.ladder.ladder import Ladder, Rung
from src.state.ownership.membership import Membership
from src.state.reads.store import Store
from src.state.reads.turnstile import Turnstile
from src.swarm.dialogue.host import Host
from src.swarm.feed import Feed
from src.swarm.forwarding import Forwarder
from src.swarm.handover import Handover
from src.swarm.outage import Outage
from src.swarm.providers.models import ModelsReport
from src.swarm.shapes.models import ConversationState


class Status:
    """Reads counters where they are kept; keeps none itself."""

    def __init__(
        self,
        ladder: Ladder,
        membership: Membership,
        conversations: Aggregates[Any, Any],
        configs: Mapping[str, Store[Any]],
        loads: Turnstile,
        listener: Listener,
        announcer: Announcer,
        forwarder: Forwarder,
        handover: Handover,
        host: Host,
        feed: Feed,
        outage: Outage,
    ) -> None:
        self._ladder = ladder
        self._loads = loads
        self._membership = membership
        self._conversations = conversations
        self._stores: Mapping[str, Store[Any]] = {
            conversations.kind.name: conversations.store,
            **configs,
        }
        self._listener = listener
        self._announcer = announcer
        self._forwarder = forwarder
        self._handover = handover
        self._host = host
        self._feed = feed
        self._outage = outage
        self.bounded: list[Callable[[], Mapping[str, Buffer]]] = [
            conversations.buffers,
            loads.buffers,
            *(store.buffers for store in self._stores.values()),
            announcer.buffers,
            host.buffers,
            feed.buffers,
            outage.buffers,
        ]
        """Whoever holds something bounded."""
        self.counted: list[Callable[[], Mapping[str, float]]] = []
        """Whoever counts something of its own, by the name that it has in `counts`."""
        self.models: Callable[[], ModelsReport] = lambda: ModelsReport(membership.id)
        """Describes the models of a server that hosts rooms; others have none."""

    def summary(self) -> dict[str, Any]:
        """Return who this server is, what it sees, and what it holds."""
        counts = self.counts()
        return {
            "server_id": self._membership.id,
            "url": self._membership.url,
            "peers": [
                {"server_id": peer.id, "url": peer.url, "announces": peer.announces}
                for peer in self._membership.peers.values()
                if not peer.dead and peer.id != self._membership.id
            ],
            "ladder": self._standing(),
            "tiers": self.tiers(),
            "conversations": {
                "owned": counts["owned"],
                "dirty": counts["dirty"],
                "oldest_dirty_s": round(counts["oldest_dirty_s"], 3),
                "waiting_commands": counts["waiting_commands"],
                "pressure": self._conversations.pressure.see().value,
                "held_bytes": counts["held_bytes"],
                "quarantined": counts["quarantined"],
                "rooms": counts["rooms"],
                "followers": counts["followers"],
                "pending_turns": counts["pending_turns"],
            },
            "lost_in_failover": {
                "conversations": self._conversations.lost.count,
                "latest": [
                    {"id": one.id, "known": one.known.token, "found": one.found.token}
                    for one in self._conversations.lost.latest
                ],
            },
            "stores": {name: store.counts() for name, store in self._stores.items()},
        }

    def rooms(self, limit: int) -> dict[str, Any]:
        """Return the running conversations of this server, and the configs that they obey.

        In order of their ids, `limit` of them; `hosted` counts all.
        """
        holdings = self._conversations.holdings
        lanes = [holdings.find(id) for id in sorted(holdings.ids())]
        entries = [lane.entry for lane in lanes if lane is not None and lane.entry is not None]
        states = [entry.state for entry in entries if entry.state.status == "running"]
        return {
            "server_id": self._membership.id,
            "hosted": len(states),
            "rooms": [_room(state) for state in states[:limit]],
        }

    def stores(self) -> Mapping[str, Mapping[str, float]]:
        """Return the tier counters of each kind."""
        return {name: store.counts() for name, store in self._stores.items()}

    def buffers(self) -> list[tuple[str, Buffer]]:
        """Return everything that is bounded, by name."""
        return [pair for bounded in self.bounded for pair in bounded().items()]

    def counts(self) -> dict[str, float]:
        """Return the counters of the write path and of what goes on between servers."""
        commit, buffer = self._conversations.commit, self._conversations.writebehind
        pressure = self._conversations.pressure
        return {
            "owned": len(self._conversations.holdings),
            "dirty": len(buffer),
            "oldest_dirty_s": buffer.oldest_age_s(),
            "waiting_commands": commit.waiting,
            "pressure": pressure.see().level,
            "held_bytes": pressure.held,
            "overloaded": pressure.refused,
            "slowed_acks": pressure.slowed,
            "quarantined": self._conversations.poison.quarantined,
            "log_batches": commit.batches,
            "log_events": commit.events,
            "flushes": buffer.flushes,
            "snapshots": buffer.snapshots,
            "takeovers": self._conversations.takeover.taken,
            "given_away": self._handover.given,
            "lost_in_failover": self._conversations.lost.count,
            "announcements": self._announcer.published,
            "announcement_fallbacks": self._announcer.fallbacks,
            "invalidations": self._listener.applied,
            "gaps": self._listener.gaps,
            "clears": self._listener.clears,
            "waiting_loads": self._loads.waiting,
            "refused_loads": self._loads.refused,
            "forwarded": self._forwarder.forwarded,
            "rooms": len(self._host),
            "replies": self._host.replies.count,
            "followers": len(self._feed),
            **self._outage.counts(),
            **{name: count for counted in self.counted for name, count in counted().items()},
        }

    def tiers(self) -> dict[str, bool]:
        """Return which stores this server can use; a server is ready when it can use both."""
        return {"redis": self._ladder.shared.closed, "postgres": self._ladder.durable.closed}

    @property
    def rung(self) -> Rung:
        """Where on the failure ladder this server stands."""
        return self._ladder.rung

    def rungs_entered(self) -> Mapping[Rung, int]:
        """Return how often each rung was entered."""
        return self._ladder.entered

    def _standing(self) -> dict[str, Any]:
        standing = self._ladder.standing
        return {
            "rung": standing.rung.value,
            "since": standing.since.isoformat(),
            "for_s": round(standing.for_s, 3),
            "returning": self._ladder.returning,
            "entered": {rung.value: count for rung, count in self._ladder.entered.items()},
        }


def _room(state: ConversationState) -> dict[str, Any]:
    team = state.team
    return {
        "conversation_id": state.id,
        "version": state.version.token,
        "team": None if team is None else {"id": team.id, "applied_version": team.version},
        "bots": [
            {"id": one.id, "applied_version": one.config_version}
            for one in state.participants
            if one.kind == "bot"
        ],
    }
