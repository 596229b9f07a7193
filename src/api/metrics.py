"""Metrics: read where they are kept, at the moment somebody asks. Hot paths add plain integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from src.api.middleware import BUCKETS_S, Traffic
from src.swarm.status import Status


class Named(NamedTuple):
    """How one counter of the server is called outside."""

    source: str
    name: str
    help: str
    counts_up: bool = True


SERVER = (
    Named("owned", "conversations_owned", "Conversations this server owns", False),
    Named("dirty", "dirty_conversations", "Conversations that wait to be flushed", False),
    Named("oldest_dirty_s", "dirty_age_seconds", "Age of the oldest unflushed change", False),
    Named("waiting_commands", "waiting_commands", "Commands that wait for the log", False),
    Named("pressure", "pressure", "How hard writes press: 0 green, 1 amber, 2 red", False),
    Named("held_bytes", "held_bytes", "Bytes dirty, buffered or waiting for the log", False),
    Named("overloaded", "overloaded_commands", "Commands refused with 503 overloaded"),
    Named("quarantined", "quarantined", "Events and states that PostgreSQL can never take"),
    Named("slowed_acks", "slowed_acks", "Acks that waited for a flush"),
    Named("rooms", "text_rooms", "Text rooms with bots at work", False),
    Named("followers", "followers", "Streams and sessions that follow a conversation", False),
    Named("change_followers", "change_followers", "Streams that follow changes of configs", False),
    Named("duties", "duties", "Work for all servers that this one does", False),
    Named("duty_runs", "duty_runs", "Runs of such work that were begun"),
    Named("webhooks_delivered", "webhook_deliveries", "Messages that a webhook's receiver took"),
    Named("webhooks_failed", "webhook_failures", "Tries to send one that failed"),
    Named("webhooks_disabled", "webhooks_disabled", "Webhooks disabled after long failure"),
    Named("pending_rooms", "pending_rooms", "Rooms that talk while PostgreSQL is away", False),
    Named("pending_turns", "pending_turns", "Turns that wait for PostgreSQL's return", False),
    Named("pending_bytes", "pending_bytes", "Bytes of those turns, about", False),
    Named("log_batches", "log_batches", "Group commits"),
    Named("log_events", "log_events", "Events logged"),
    Named("flushes", "flushes", "Flush transactions"),
    Named("snapshots", "snapshots_written", "Snapshots written by flushes"),
    Named("takeovers", "takeovers", "Conversations taken over from dead servers"),
    Named("given_away", "conversations_given", "Conversations given to another server by name"),
    Named("lost_in_failover", "lost_conversations", "Conversations that a failover cut short"),
    Named("announcements", "announcements", "Changes announced to other servers"),
    Named("announcement_fallbacks", "announcement_fallbacks", "Announcements by PostgreSQL"),
    Named("invalidations", "invalidations", "Changes heard of and applied"),
    Named("gaps", "invalidation_gaps", "Gaps in what was heard, replayed"),
    Named("clears", "invalidation_clears", "Times a partition was doubted as a whole"),
    Named("waiting_loads", "waiting_loads", "Reads of states that wait for a turn at L3", False),
    Named("refused_loads", "refused_loads", "Reads of states that found the line full"),
    Named("forwarded", "forwarded_commands", "Commands sent on to their owner"),
    Named("replies", "bot_replies", "Replies of bots"),
    Named("pending_logged", "pending_logged", "Pending turns logged on PostgreSQL's return"),
    Named("pending_refused", "pending_refused", "Pending turns refused on its return"),
    Named("room_tokens", "room_tokens", "Tokens made for rooms on LiveKit"),
    Named("swarms_sent", "swarms_sent", "Swarms sent to rooms"),
    Named("sessions_finalised", "sessions_finalised", "Lives of rooms that were summarised"),
    Named("swarms_failed", "swarms_failed", "Swarms whose sending failed, each time"),
    Named("swarms_expired", "swarms_expired", "Swarms that waited in vain for a place"),
    Named("swarms_died", "swarms_died", "Swarms whose sending failed too often"),
    Named("swarms_waiting", "swarms_waiting", "Swarms that wait for a place", False),
    Named("swarms_oldest_wait_s", "swarms_wait_seconds", "Wait of the first in line", False),
    Named("swarms_dead", "swarms_dead", "Swarms that wait for an operator", False),
    Named("workers", "workers", "Servers that host rooms", False),
    Named("workers_ready", "workers_ready", "Those of them with a free place", False),
    Named("workers_wanted", "workers_wanted", "How many of them there should be", False),
    Named("places", "room_places", "Rooms that all of them can host", False),
    Named("sessions", "room_sessions", "Rooms that all of them host", False),
    Named("recordings_kept", "recordings_kept", "Recordings of rooms that became files"),
    Named("recordings_lost", "recordings_lost", "Finished recordings that were given up"),
    Named("model_loads", "model_loads", "Models that were loaded for ears, voices and replies"),
    Named("failed_model_loads", "failed_model_loads", "Models that could not be loaded"),
    Named("shared_models", "shared_models", "Times that a model was there already"),
    Named("news_sent", "room_events_sent", "Events sent to everybody in a room on LiveKit"),
    Named("news_lost", "room_events_lost", "Those that LiveKit did not take in time"),
    Named("livekit_messages", "livekit_messages", "LiveKit's webhooks of our rooms acted on"),
    Named("pending_turned_away", "pending_turned_away", "Turns that the bounds had no room for"),
)
"""Counts of the write path and between servers (`Status.counts`)."""

STORES = (
    Named("l1_hits", "l1_hits", "Reads answered by L1"),
    Named("l2_hits", "l2_hits", "Reads answered by L2"),
    Named("l3_loads", "l3_loads", "Reads that went to L3"),
)
"""Counts of the tiers, per kind of state (`Status.stores`)."""


LADDER = (
    Named("rung", "rung", "1 for the rung of the failure ladder it stands on", False),
    Named("entered", "rung_entered", "Times a rung was entered"),
)
"""Where a server stands, per rung (`Status.rung`, `Status.rungs_entered`)."""
BUFFERS = (
    Named("size", "buffer_size", "Items or bytes held, by buffer", False),
    Named("bound", "buffer_bound", "Items or bytes that it may hold", False),
    Named("left_out", "buffer_left_out", "Evicted, dropped or refused because it was full"),
)
"""What each bounded collection says of itself (`Status.buffers`)."""


class ServerMetrics(Collector):
    """Everything one server says of itself."""

    def __init__(self, traffic: Traffic, status: Callable[[], Status | None]) -> None:
        self._traffic = traffic
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Give each metric once."""
        status = self._status()
        if status is not None:
            counts = status.counts()
            for named in SERVER:
                metric = _family(named)
                # A server without a LiveKit counts nothing of rooms.
                metric.add_metric((), counts.get(named.source, 0))
                yield metric
            yield from _ladder(status)
            stores = status.stores()
            for named in STORES:
                metric = _family(named, ("kind",))
                for kind, store in stores.items():
                    metric.add_metric((kind,), store[named.source])
                yield metric
            buffers = status.buffers()
            for named in BUFFERS:
                metric = _family(named, ("buffer", "kind"))
                for name, buffer in buffers:
                    metric.add_metric((name, buffer.kind), getattr(buffer, named.source))
                yield metric
        yield from self._http()

    def _http(self) -> Iterator[Metric]:
        traffic = self._traffic
        requests = CounterMetricFamily(
            "swarmstate_http_requests", "Requests answered", labels=("method", "status")
        )
        for (method, status), count in traffic.answers.items():
            requests.add_metric((method, str(status)), count)
        yield requests
        yield CounterMetricFamily(
            "swarmstate_http_hot_reads",
            "Reads answered from L1 ahead of routing; in no other HTTP metric",
            traffic.hot_hits,
        )
        yield GaugeMetricFamily(
            "swarmstate_live_sessions", "WebSocket sessions", traffic.live_sessions
        )
        yield GaugeMetricFamily("swarmstate_event_streams", "Event streams", traffic.streams)
        yield CounterMetricFamily(
            "swarmstate_event_streams_refused",
            "Streams and live sessions refused to callers who had as many as they may",
            traffic.streams_refused,
        )
        below = 0
        buckets = []
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), traffic.buckets, strict=True):
            below += count
            buckets.append((bound, below))
        yield HistogramMetricFamily(
            "swarmstate_http_request_duration_seconds",
            "Time to the beginning of the answer",
            buckets=buckets,
            sum_value=traffic.seconds,
        )


def _ladder(status: Status) -> Iterator[Metric]:
    rung, entered = (_family(named, ("rung",)) for named in LADDER)
    for name, count in status.rungs_entered().items():
        rung.add_metric((name.value,), name is status.rung)
        entered.add_metric((name.value,), count)
    yield rung
    yield entered


def registry(collector: Collector) -> CollectorRegistry:
    """Return a registry of its own: several servers may live in one process."""
    own = CollectorRegistry(auto_describe=False)
    own.register(collector)
    return own


def _family(named: Named, labels: tuple[str, ...] = ()) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if named.counts_up else GaugeMetricFamily
    return kind(f"swarmstate_{named.name}", named.help, labels=labels)
