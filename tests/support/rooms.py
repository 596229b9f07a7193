"""Servers on tiers in memory with the swarm room on top: service, feed, host and configs.

The parts are put together as the composition root does it. What one server sends another goes as
the same bytes as over HTTP, only without a socket, so all of it runs in virtual time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, cast

import msgspec
from sqlalchemy.ext.asyncio import create_async_engine

from src.state.aggregates import Aggregates
from src.state.background import background
from src.state.configs import Configs, Record
from src.state.errors import (
    DurableTierUnavailable,
    OutcomeUnknown,
    OwnershipUnknown,
    StateError,
    Undecodable,
)
from src.state.lists import ConversationLists
from src.state.models import Entry, Event, Version
from src.state.reads.source import LogSource
from src.state.reads.store import Store
from src.state.tiers.memory_log import MemoryLog
from src.swarm.configs.bots import BotConfig, ProviderNames
from src.swarm.configs.seen import SeenConfigs
from src.swarm.configs.service import KINDS, ConfigService
from src.swarm.dialogue.approvals import Approvals
from src.swarm.dialogue.host import Host
from src.swarm.feed import Feed
from src.swarm.forwarding import (
    Forwarder,
    Receipt,
    Refusal,
    decode_forwarded,
    encode_refusal,
    raise_refusal,
)
from src.swarm.handover import Handover
from src.swarm.history import History
from src.swarm.in_force import InForce
from src.swarm.outage import Outage
from src.swarm.pending import Bounds
from src.swarm.providers import Outcome, Provider, ReplyPart, ReplyRequest, Text, ToolCall
from src.swarm.providers.registry import Registry
from src.swarm.rules.conversations import CONVERSATIONS, MESSAGE_ADDED
from src.swarm.service import SwarmService
from src.swarm.shapes.codec import decode_event
from src.swarm.shapes.commands import (
    ChangeStatus,
    Command,
    Create,
    NewParticipant,
    PostMessage,
    Speaker,
)
from src.swarm.shapes.config import Config
from src.swarm.shapes.events import ConversationEvent, MessageAdded
from src.swarm.shapes.models import ConversationState, Message
from tests.support.clock import BEGAN
from tests.support.cluster import Cluster, Server
from tests.support.cluster_settings import NOWHERE

ADA = NewParticipant("ada", "person", "Ada")
SCOUT = NewParticipant("scout", "bot", "Scout")
TUTOR = NewParticipant("tutor", "bot", "Tutor")


class Rows:
    """The rows of one kind of config: `Source` of every server's store of them, and their list."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._rows: dict[str, Entry[Record[Any]]] = {}
        self.unreadable: set[str] = set()
        self.away = False
        """Whether PostgreSQL is away from them."""
        self.loads = 0
        self.newer: set[str] = set()
        """Those that a newer release has written."""

    def put(self, id: str, config: msgspec.Struct, *, deleted: bool = False) -> Version:
        """Commit the next version."""
        row = self._rows.get(id)
        version = Version(0, 1 if row is None else row.version.seq + 1)
        record = Record(self._kind, id, version.seq, config, deleted, "ada", BEGAN)
        self._rows[id] = Entry(id, version, record)
        return version

    async def load(self, id: str, base: Entry[Record[Any]] | None) -> Entry[Record[Any]] | None:
        self.loads += 1
        await asyncio.sleep(0)
        if self.away or id in self.unreadable:
            raise DurableTierUnavailable("the row cannot be read")
        if id in self.newer:
            raise Undecodable(self._kind, "a newer release has written it")
        return self._rows.get(id)

    async def list(
        self, after: str, limit: int, group: str | None = None
    ) -> tuple[Sequence[Record[Any]], int]:
        """What `Configs.list` gives."""
        await asyncio.sleep(0)
        if self.away:
            raise DurableTierUnavailable("the rows cannot be read")
        of = KINDS[self._kind].group
        records = [self._rows[id].state for id in sorted(self._rows) if id > after]
        found = [one for one in records if group in (None, of(one.body)) and not one.deleted]
        return found[:limit], 0


class Voice:
    """A provider that says what a test gives it, and counts how many replies it makes at once."""

    def __init__(
        self, *parts: ReplyPart, says: Callable[[ReplyRequest], str] | None = None
    ) -> None:
        self._parts = parts
        self._says = says
        self._free = asyncio.Event()
        self.requests: list[ReplyRequest] = []
        self.outcomes: list[Outcome] = []
        """What it was told of its calls."""
        self.now = self.most = 0
        self.before: Exception | None = None
        """Raised before the first part ..."""
        self.after: Exception | None = None
        """... or after the last."""
        self.release()

    def hold(self) -> None:
        """Let every reply wait for its first part until `release`."""
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    async def generate(self, request: ReplyRequest) -> AsyncIterator[ReplyPart]:
        self.requests.append(request)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self._free.wait()
            if self.before is not None:
                raise self.before
            for part in self._parts:
                yield part
                if isinstance(part, ToolCall):
                    self.outcomes.append(request.outcome())
            if self._says is not None:
                yield Text(self._says(request))
            if self.after is not None:
                raise self.after
        finally:
            self.now -= 1


class Wire(Forwarder):
    """The way from one server to the others."""

    def __init__(self, swarm: "Swarm") -> None:
        self._swarm = swarm
        self.forwarded = 0
        self.lost_answers = 0
        """So many of the next commands are taken, and their answers never come."""

    async def send(self, url: str, conversation_id: str, body: bytes) -> Receipt:
        self.forwarded += 1
        owner = self._swarm.at(url)
        if not owner.reachable:
            raise OwnershipUnknown(conversation_id, "its owner cannot be reached")
        command, asked = decode_forwarded(body)
        owner.asked += 1
        try:
            receipt = await owner.service.submit_here(
                conversation_id,
                command,
                key=asked.key,
                actor=asked.actor,
                if_version=asked.if_version,
                durability=asked.durability,
                create=asked.create,
            )
        except StateError as error:
            refusal = msgspec.json.decode(encode_refusal(error), type=Refusal)
            raise_refusal(conversation_id, refusal, 409)
        if self.lost_answers:
            self.lost_answers -= 1
            raise OutcomeUnknown(conversation_id)
        return receipt

    async def ask_for(self, url: str, conversation_id: str, to: str) -> None:
        owner = self._swarm.at(url)
        if not owner.reachable:
            raise OwnershipUnknown(conversation_id, "its owner cannot be reached")
        try:
            await owner.service.handover.give(conversation_id, to)
        except StateError as error:
            refusal = msgspec.json.decode(encode_refusal(error), type=Refusal)
            raise_refusal(conversation_id, refusal, 409)

    async def tell_owner(self, url: str, ids: Sequence[str]) -> None:
        heir = self._swarm.at(url)
        if not heir.reachable:
            raise OwnershipUnknown(ids[0], "its owner cannot be reached")
        await heir.service.handover.take(ids)


class SwarmServer:
    """One process: a server of the state, and the swarm room on it."""

    def __init__(
        self,
        swarm: "Swarm",
        state: Server,
        providers: Mapping[str, Provider],
        ack: Literal["logged", "buffered"],
    ) -> None:
        self.state = state
        self.reachable = True
        self.asked = 0
        """Commands that other servers sent here."""
        self.wire = Wire(swarm)
        # A `Server` is written for notebooks and holds whatever kind it was given.
        conversations = cast("Aggregates[ConversationState, Command]", state.notebooks)
        read_log = MemoryLog(CONVERSATIONS, swarm.cluster.database, trip=state.read_trip)
        self.configs: dict[str, Store[Record[Any]]] = {
            kind: Store(
                KINDS[kind],
                rows,
                state.shared,
                swarm.cluster.settings,
                state.clock,
                owned=state.owned_lease,
                heard=state.heard_lease,
                incarnations=state.incarnations,
                loads=state.loads,
            )
            for kind, rows in swarm.configs.items()
        }
        rows = cast("Mapping[str, Configs[Any]]", swarm.configs)
        configs = ConfigService(rows, self.configs)
        self.seen = SeenConfigs(
            configs, state.told_lease, lambda: not state.ladder.durable.closed, state.clock
        )
        for name, store in self.configs.items():
            store.listeners.append(partial(self.seen.heard, name))
        self.in_force = in_force = InForce(self.seen)
        self.outage = Outage(
            conversations,
            replace(CONVERSATIONS, decide=in_force.decide_pending),
            swarm.bounds,
            state.clock,
        )
        self.feed = Feed(read_log, self.outage.rooms, owns=conversations.holdings.owns)
        # Never connected: lists are SQL and have their tests on the real thing.
        nowhere = create_async_engine(f"postgresql+asyncpg://nobody@{NOWHERE}/none")
        self.host = Host(
            self.outage,
            lambda *given: self.service.submit_of_room(*given),
            lambda *given: self.service.submit_as_owner(*given),
            in_force,
            Registry(providers),
            swarm.reply_timeout,
            swarm.first_part_timeout,
            state.clock,
        )
        self.approvals = Approvals(
            conversations.holdings.find,
            lambda *given: self.service.submit_as_owner(*given),
            in_force,
            state.clock,
        )
        handover = Handover(
            conversations,
            self.wire,
            state.membership,
            self.host,
            swarm.patience.total_seconds(),
        )
        self.service = SwarmService(
            conversations,
            read_log,
            ConversationLists(nowhere, MESSAGE_ADDED),
            self.feed,
            self.wire,
            state.membership,
            handover,
            configs,
            in_force,
            self.outage,
            History(LogSource(CONVERSATIONS, read_log)),
            swarm.patience,
            ack,
        )
        conversations.logged += [self.feed.logged, self.host.logged, self.approvals.logged]
        conversations.holdings.owned += [
            self.feed.owned,
            self.host.owned,
            self.approvals.owned,
        ]
        conversations.holdings.gone.append(self.host.gone)
        for kind in ("bot", "team"):
            self.configs[kind].listeners.append(partial(self.host.heard, kind))
        conversations.store.listeners.append(self.feed.heard)

    @property
    def url(self) -> str:
        return self.state.membership.url

    def freeze(self) -> None:
        """Let nothing of this server reach anybody: to the others it is a paused process."""
        self.reachable = False
        self.state.freeze()

    def thaw(self) -> None:
        self.reachable = True
        self.state.thaw()

    async def submit(self, command: Command, *, key: str, **options: Any) -> Receipt:
        """Submit a command of Ada's to the conversation "c"."""
        return await self.service.submit("c", command, key=key, actor="ada", **options)

    async def begin(self, *bots: NewParticipant, config: Config = Config()) -> None:
        """Make the conversation "c" of Ada and these bots, and start it."""
        new = Create("c", config=config, participants=(ADA, *bots))
        await self.submit(new, key="create", create=True)
        await self.submit(ChangeStatus("start"), key="start")

    async def say(self, text: str, *, key: str | None = None) -> Receipt:
        """Let Ada say something, by default under a key made of it."""
        return await self.submit(PostMessage(Speaker("person", "ada"), text), key=key or text)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.feed.aclose)
            for store in self.configs.values():
                stack.push_async_callback(store.aclose)
            await stack.enter_async_context(self.state.running())
            await stack.enter_async_context(self.outage.running(self.service.submit_pending))
            await stack.enter_async_context(self.host.running())
            await stack.enter_async_context(background(self.approvals.run(), self.seen.run()))
            yield


class Swarm:
    """Servers on one database and one space, the bots' configs, and what the log says.

    Their times of day agree, but for those of which `ahead_s` says otherwise, by name.
    """

    def __init__(
        self,
        *,
        patience_s: float = 3.0,
        reply_timeout_s: float = 60.0,
        first_part_s: float = 10.0,
        bounds: Bounds = Bounds(1000, 1000, 1 << 24),
        ack: Literal["logged", "buffered"] = "logged",
        ahead_s: Mapping[str, float] = MappingProxyType({}),
        **changes: Any,
    ) -> None:
        self._ahead_s = ahead_s
        self.cluster = Cluster(**changes)
        self.configs = {kind: Rows(kind) for kind in ("bot", "team", "setting", "subtopic")}
        self.patience = timedelta(seconds=patience_s)
        self.reply_timeout = timedelta(seconds=reply_timeout_s)
        self.first_part_timeout = timedelta(seconds=first_part_s)
        self.bounds = bounds
        self._ack = ack
        self._servers: list[SwarmServer] = []

    def at(self, url: str) -> SwarmServer:
        return next(server for server in self._servers if server.url == url)

    def edit(self, id: str, llm: str, *fallback: str, name: str = "") -> None:
        """Save a bot that speaks by this provider, and tell all servers, as the outbox would."""
        config = BotConfig(name or id.title(), providers=ProviderNames(llm=llm, fallback=fallback))
        self.save("bot", id, config)

    def save(self, kind: str, id: str, config: msgspec.Struct) -> None:
        """Save a config, and tell all servers, as the outbox would."""
        version = self.configs[kind].put(id, config)
        for server in self._servers:
            server.configs[kind].invalidate(id, version)

    @property
    def bots(self) -> Rows:
        return self.configs["bot"]

    @asynccontextmanager
    async def open(
        self, *names: str, **providers: Provider
    ) -> AsyncIterator[Sequence[SwarmServer]]:
        """Run servers. A provider given as `voice` goes by the name `test/voice`."""
        known = {f"test/{name}": provider for name, provider in providers.items()}
        async with AsyncExitStack() as stack:
            for place, name in enumerate(names):
                server = self._server(name, 100.0 * place, known)
                self._servers.append(server)
                await stack.enter_async_context(server.running())
            yield self._servers

    def _server(self, name: str, offset_s: float, providers: Mapping[str, Provider]) -> SwarmServer:
        kind = replace(CONVERSATIONS, decide=lambda *given: server.in_force.decide(*given))
        state = self.cluster.server(
            name,
            offset_s=offset_s,
            ahead_s=self._ahead_s.get(name, 0.0),
            kind=cast("Any", kind),
        )
        server = SwarmServer(self, state, providers, self._ack)
        return server

    def log(self) -> list[Event]:
        """What the log has of the conversation "c"."""
        return list(self.cluster.database.events["events"]["c"])

    def facts(self) -> list[ConversationEvent]:
        """The same, decoded."""
        return [decode_event(event.type, event.schema, event.body) for event in self.log()]

    def turns(self) -> list[Message]:
        """The turns in the log, in order."""
        return [fact.message for fact in self.facts() if isinstance(fact, MessageAdded)]

    def said(self) -> list[tuple[str, str]]:
        """Who said what, in order."""
        return [(turn.author.id, turn.text) for turn in self.turns()]
