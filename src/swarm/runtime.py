"""The composition root: the only file that names concrete tiers and buses.

`open_runtime` gives a server that has joined the others and is ready to serve; at the end of the
block it drains, flushes, gives up what it owned and says goodbye.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import structlog

from src.invalidation.buses.postgres import PostgresNotices
from src.invalidation.buses.redis import RedisBus
from src.invalidation.changes import ChangeFeed
from src.invalidation.listener import Listener
from src.invalidation.publisher import Announcer
from src.state.aggregates import Aggregates
from src.state.background import background
from src.state.clock import SystemClock
from src.state.configs import Configs, ConfigSource, Record
from src.state.errors import DurableTierUnavailable, SharedTierUnavailable
from src.state.guards import ALL_ON, Guards
from src.state.ladder.breaker import Way
from src.state.ladder.keeping import keep_for_ever
from src.state.ladder.ladder import Ladder
from src.state.lists import ConversationLists
from src.state.ownership.leader import Leader
from src.state.ownership.membership import Membership
from src.state.protocols import Clock
from src.state.rates import Rates
from src.state.reads.source import LogSource
from src.state.reads.store import Store
from src.state.reads.turnstile import Turnstile
from src.state.records.blobs import open_blobs
from src.state.records.departed import Departed
from src.state.records.edits import Edits
from src.state.records.erasures import Erasures
from src.state.records.files import Files
from src.state.records.first_answers import FirstAnswers
from src.state.records.outbox import Outbox
from src.state.records.people import People
from src.state.records.webhooks import Webhooks as WebhookRecords
from src.state.tiers.connections import open_connections
from src.state.tiers.incarnations import Incarnations
from src.state.tiers.memory import open_lease
from src.state.tiers.postgres_duties import PostgresDuties
from src.state.tiers.postgres_eraser import PostgresEraser
from src.state.tiers.postgres_log import PostgresLog
from src.state.tiers.postgres_ownership import PostgresOwnership, PostgresRegistry
from src.state.tiers.redis import RedisTier
from src.state.tiers.redis_rates import RedisRates
from src.swarm.configs.seen import SeenConfigs
from src.swarm.configs.service import KINDS, ConfigService
from src.swarm.copies import Copies, filling
from src.swarm.dialogue.approvals import Approvals
from src.swarm.dialogue.host import Host
from src.swarm.erasing import Erasing
from src.swarm.farewell import farewell
from src.swarm.feed import Feed
from src.swarm.files import FileService
from src.swarm.forwarding import open_forwarder
from src.swarm.handover import Handover
from src.swarm.history import History
from src.swarm.in_force import InForce
from src.swarm.internal_tokens import InternalTokens
from src.swarm.opened import Runtime
from src.swarm.outage import Outage
from src.swarm.providers import Provider
from src.swarm.providers.registry import Find, Registry
from src.swarm.rooms.opening import open_rooms
from src.swarm.rooms.protocols import Media
from src.swarm.rules.conversations import CONVERSATIONS, DELETED, MESSAGE_ADDED
from src.swarm.service import SwarmService
from src.swarm.settings import RuntimeSettings
from src.swarm.shapes.commands import Command
from src.swarm.shapes.models import ConversationState
from src.swarm.status import Status
from src.swarm.transfers import Transfers
from src.swarm.upkeep import upkeep
from src.swarm.webhooks.opening import open_webhooks

log = structlog.get_logger(__name__)

_NO_PROVIDERS: Mapping[str, Provider] = MappingProxyType({})


@asynccontextmanager
async def open_runtime(
    settings: RuntimeSettings,
    *,
    guards: Guards = ALL_ON,
    providers: Mapping[str, Provider] = _NO_PROVIDERS,
    find_provider: Find | None = None,
    media: Media | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Runtime]:
    """Open a server on the stores that the settings name.

    Raises:
        DurableTierUnavailable, SharedTierUnavailable: a store does not answer; it is named.
    """
    clock = clock or SystemClock()
    state = settings.state
    async with AsyncExitStack() as stack:
        ladder = Ladder(state, clock)
        cache = Way(ladder.shared, SharedTierUnavailable, "Redis").trip
        database = Way(ladder.durable, DurableTierUnavailable, "PostgreSQL").trip
        to = await stack.enter_async_context(open_connections(state, database))
        pool, engine = to.pool, to.engine

        owned, heard, told = (open_lease(clock, guards) for _ in range(3))
        incarnations = Incarnations()
        shared = RedisTier(to.bodies, incarnations, state, way=cache, guards=guards)
        registry = PostgresRegistry(to.beat, to.pull, guards=guards)
        membership = Membership(
            registry, state, clock, settings.swarm.server_url, owned, ladder=ladder, guards=guards
        )
        bus = RedisBus(to.announcing, to.pulls, state, way=cache)
        notices = PostgresNotices(to.notice, state)
        rates = Rates(RedisRates(to.counting, way=cache), clock)
        announcer = Announcer(bus, notices, registry, membership, clock)

        loads = Turnstile("reads of states", state.max_loads, state.max_waiting_loads)

        def store_of(kind: Any, source: Any) -> Store[Any]:
            return Store(
                kind,
                source,
                shared,
                state,
                clock,
                owned=owned,
                heard=heard,
                incarnations=incarnations,
                loads=loads,
                guards=guards,
                timeline=lambda: membership.timeline,
            )

        config_stores: dict[str, Store[Record[Any]]] = {
            name: store_of(kind, ConfigSource(kind, engine, way=database))
            for name, kind in KINDS.items()
        }

        edits = Edits(engine, announcer, state, way=database, guards=guards)
        configs = ConfigService(
            {
                name: Configs(kind, engine, edits, clock, way=database)
                for name, kind in KINDS.items()
            },
            config_stores,
        )
        seen = SeenConfigs(configs, told, lambda: not ladder.durable.closed, clock)
        in_force = InForce(seen)
        for name in ("bot", "team", "setting"):
            config_stores[name].listeners.append(partial(seen.heard, name))
        event_log = PostgresLog(
            CONVERSATIONS,
            pool,
            to.append,
            guards=guards,
            timeline=lambda: membership.timeline,
        )
        source = LogSource(CONVERSATIONS, event_log, guards=guards)
        store: Store[ConversationState] = store_of(CONVERSATIONS, source)
        conversations: Aggregates[ConversationState, Command] = Aggregates(
            replace(CONVERSATIONS, decide=in_force.decide),
            event_log,
            PostgresOwnership(CONVERSATIONS, pool, guards=guards),
            shared,
            announcer,
            membership,
            store,
            source,
            state,
            clock,
            ladder=ladder,
            guards=guards,
        )
        membership.on_deposed = conversations.holdings.deposed

        async def branched() -> None:
            for one in config_stores.values():
                one.branched()
            seen.branched()
            await conversations.branched()
            feed.branched()

        membership.on_branch = branched
        people = People(engine, edits, clock, told, state, way=database)
        stack.push_async_callback(people.aclose)
        outage = Outage(
            conversations,
            replace(CONVERSATIONS, decide=in_force.decide_pending),
            settings.swarm.pending_bounds,
            clock,
        )
        feed = Feed(event_log, outage.rooms, owns=conversations.holdings.owns)
        stack.push_async_callback(feed.aclose)
        store.listeners.append(feed.heard)
        outbox, position = Outbox(pool), await registry.outbox_end()
        changes = ChangeFeed(outbox, lambda: membership.timeline, position)
        stack.push_async_callback(changes.aclose)
        listener = Listener(
            bus,
            notices,
            registry,
            membership,
            Copies({CONVERSATIONS.name: store, **config_stores}, feed, people),
            incarnations,
            state,
            clock,
            heard=heard,
            ladder=ladder,
            outbox_position=position,
            told=told,
            guards=guards,
        )
        listener.on_pull.append(changes.pulled)
        tokens = InternalTokens(settings.swarm.internal_secret.get_secret_value())
        forwarder = await stack.enter_async_context(
            open_forwarder(tokens, settings.swarm.forward_timeout)
        )
        providing = Registry(providers, find_provider)
        stack.push_async_callback(providing.aclose)
        host = Host(
            outage,
            lambda *given: service.submit_of_room(*given),
            lambda *given: service.submit_as_owner(*given),
            in_force,
            providing,
            settings.swarm.room_reply_timeout,
            settings.swarm.room_first_part_timeout,
            clock,
        )
        approvals = Approvals(
            conversations.holdings.find,
            lambda *given: service.submit_as_owner(*given),
            in_force,
            clock,
        )
        conversations.logged.append(approvals.logged)
        conversations.holdings.owned.append(approvals.owned)
        membership.on_death.append(
            lambda server_id: forwarder.give_up(membership.peers[server_id].url)
        )
        history = History(source)
        handover = Handover(
            conversations,
            forwarder,
            membership,
            host,
            settings.swarm.patience.total_seconds(),
        )
        service = SwarmService(
            conversations,
            event_log,
            ConversationLists(engine, MESSAGE_ADDED, way=database),
            feed,
            forwarder,
            membership,
            handover,
            configs,
            in_force,
            outage,
            history,
            settings.swarm.patience,
            state.ack,
        )
        conversations.logged += [feed.logged, host.logged]
        downloads, files = Transfers("downloads", state.downloads), None
        if state.blobs_url is not None:
            table = Files(engine, way=database)
            files = FileService(table, open_blobs(state.blobs_url), state, clock, downloads)
            conversations.logged.append(files.logged)
        eraser, told_of = PostgresEraser(CONVERSATIONS, DELETED, state), Erasures(edits)
        erasing = Erasing(
            conversations, event_log, shared, told_of, eraser, files, clock, state.pull_deadline
        )
        conversations.holdings.owned += [feed.owned, host.owned]
        conversations.holdings.gone.append(host.gone)
        for kind in ("bot", "team"):
            config_stores[kind].listeners.append(partial(host.heard, kind))
        status = Status(
            ladder,
            membership,
            conversations,
            config_stores,
            loads,
            listener,
            announcer,
            forwarder,
            handover,
            host,
            feed,
            outage,
        )
        leader = Leader(PostgresDuties(pool), membership, owned, clock)
        first_answers = FirstAnswers(pool, state.idempotency_keep)
        departed = Departed(CONVERSATIONS, pool)
        for duty in upkeep(first_answers, outbox, state.outbox_keep, people, departed, files):
            leader.add(duty)
        webhooks = await stack.enter_async_context(
            open_webhooks(
                WebhookRecords(pool), outbox, leader, settings.swarm, state, clock, status.counted
            )
        )
        to_rooms = (pool, media, settings.livekit, service, in_force, providing)
        looking = open_rooms(*to_rooms, leader, membership, status.counted, clock)
        hosting = await stack.enter_async_context(looking)
        status.counted += [leader.counts, changes.counts]
        status.bounded += [service.buffers, notices.buffers, rates.buffers, changes.buffers]
        status.bounded += [history.buffers, edits.buffers, seen.buffers, downloads.buffers]
        if files is not None:
            status.bounded.append(files.buffers)
            await stack.enter_async_context(files.running())

        await membership.join()
        await stack.enter_async_context(
            background(
                membership.beat_for_ever(),
                announcer.heal_for_ever(),
                rates.push_for_ever(),
                keep_for_ever(
                    ladder.durable, shared, [store, *config_stores.values()], state, clock
                ),
            )
        )
        for running in (
            conversations.running(),
            filling(config_stores),
            listener.running(),
            farewell(conversations, membership),
            outage.running(service.submit_pending),
            host.running(),
        ):
            await stack.enter_async_context(running)
        status.bounded.append(approvals.buffers)
        await stack.enter_async_context(background(approvals.run(), seen.run()))
        await stack.enter_async_context(leader.running())
        log.info("server.joined", server=membership.id, url=membership.url)
        parts = (service, host, status, tokens, first_answers, rates, changes, files, webhooks)
        yield Runtime(*parts, people, erasing, downloads, *hosting)
