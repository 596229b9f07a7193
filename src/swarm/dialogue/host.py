"""The text room: on the owner of a running conversation, bots answer turns.

Who answers is `responder`'s to say, who may speak now `floor`'s, and what is said the provider's.
A room is nothing but work in progress: everything it needs is in the state, so the next owner
goes on where this one stopped. A reply's key is made of the turn and the bot, which is why a
reply that two servers attempt is there once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial

import structlog

from src.state.background import background, end
from src.state.buffers import Buffer
from src.state.errors import Refused, StateError
from src.state.models import Entry, Event, Version
from src.state.protocols import Clock
from src.swarm.configs.dependents import Dependents
from src.swarm.configs.inheritance import in_effect
from src.swarm.dialogue import floor
from src.swarm.dialogue.progress import Progress
from src.swarm.dialogue.replying import Replies
from src.swarm.dialogue.reports import ConfigReports
from src.swarm.dialogue.responder import who_answers
from src.swarm.dialogue.room import MAX_WAITING_TURNS, Room
from src.swarm.dialogue.stage import Stage
from src.swarm.errors import SwarmError
from src.swarm.in_force import InForce
from src.swarm.outage import Outage, Submit
from src.swarm.pending import PendingCommand
from src.swarm.providers.registry import Registry
from src.swarm.rules import speeches
from src.swarm.rules.conversations import MESSAGE_ADDED
from src.swarm.rules.turns import open_turns
from src.swarm.shapes.limits import effective
from src.swarm.shapes.models import ConversationState, Message

log = structlog.get_logger(__name__)

_STAGE_S = 20.0
"""How long a bot that was cut off waits to be heard again; then it answers in writing."""


_LAST_WORD_S = 3.0
"""How long the turn of who was heard when its stage went may take to be logged."""


class Host:
    """Rooms of the running conversations that this server owns.

    `submit` has a room's command taken, in an outage too; `note` only where the log answers.
    """

    def __init__(
        self,
        outage: Outage,
        submit: Submit,
        note: Submit,
        in_force: InForce,
        registry: Registry,
        reply_timeout: timedelta,
        first_part_timeout: timedelta,
        clock: Clock,
    ) -> None:
        self._outage, self._in_force, self._clock = outage, in_force, clock
        self._note = note
        self._reports = ConfigReports(in_force, submit)
        self.replies = Replies(
            registry,
            submit,
            in_force,
            self._reports,
            partial(self._state, exact=True),
            reply_timeout,
            first_part_timeout,
            clock,
        )
        outage.rooms.said.append(self._said)
        self._rooms: dict[str, Room] = {}
        self._dependents = Dependents()
        self._tasks: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._turns_left_out = 0

    def __len__(self) -> int:
        return len(self._rooms)

    def hosts(self, conversation_id: str) -> bool:
        """Whether bots are answering in a conversation here."""
        room = self._rooms.get(conversation_id)
        return room is not None and not room.waits(self._clock.monotonic())

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here: the oldest turn of a room goes when too many wait."""
        waiting = sum(len(room.turns) for room in self._rooms.values())
        bound = len(self._rooms) * MAX_WAITING_TURNS
        return {"room_turns": Buffer(waiting, bound, self._turns_left_out)}

    # -- what wakes a room -----------------------------------------------------------------------

    def owned(self, entry: Entry[ConversationState]) -> None:
        """Go on with a conversation that another server hosted: turns of it may be open."""
        room = self._rooms.get(entry.id)
        if room is not None:
            room.away.clear()
            room.wake()
        if entry.state.speech is not None:
            room = self._open(entry.id)
            room.speech = entry.state.speech
            room.stage_until = self._clock.monotonic() + _STAGE_S
            room.wake()
        if entry.state.status == "running":
            self._dependents.note(entry.state)
            self._consider(entry.id, open_turns(entry.state))

    def logged(self, entry: Entry[ConversationState], events: Sequence[Event]) -> None:
        """Consider the turns that were just logged."""
        room = self._rooms.get(entry.id)
        if room is not None:
            room.speech = entry.state.speech
        if entry.state.status == "running":
            self._dependents.note(entry.state)
        else:
            self._dependents.forget(entry.id)
            if room is not None:
                # Its reply under way ends by itself, and so does the room then.
                room.turns.clear()
            return
        seqs = {event.version.seq for event in events if event.type == MESSAGE_ADDED}
        # What was pending was heard when it was said.
        fresh = [
            turn
            for turn in entry.state.messages
            if turn.seq in seqs
            and turn.seq > entry.state.started_seq
            and not self._outage.holds(entry.id, turn.id)
        ]
        # An exchange that a client saved whole brings its own answer.
        answered = {turn.reply_to for turn in fresh}
        self._consider(entry.id, [turn for turn in fresh if turn.id not in answered])

    def gone(self, conversation_id: str) -> None:
        """Forget a conversation that this server does not own any more."""
        self._dependents.forget(conversation_id)
        room = self._rooms.get(conversation_id)
        if room is not None:
            room.away.set()
            room.wake()

    def heard(self, kind: str, id: str, version: Version) -> None:
        """Have each running conversation that depends on a config apply it between two turns."""
        for conversation_id in self._dependents.of(kind, id):
            room = self._open(conversation_id)
            room.changed.set()
            room.wake()

    def _said(self, conversation_id: str, pending: PendingCommand) -> None:
        """Consider turns that are pending: PostgreSQL is away."""
        self._consider(conversation_id, pending.turns)

    def _consider(self, conversation_id: str, turns: Sequence[Message]) -> None:
        if turns:
            self._turns_left_out += self._open(conversation_id).add(turns)

    def _open(self, conversation_id: str) -> Room:
        room = self._rooms.get(conversation_id)
        if room is None:
            room = Room()
            if self._tasks is not None:
                self._rooms[conversation_id] = room
                task = self._tasks.create_task(self._run(conversation_id, room))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        return room

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Host rooms for the length of the block; replies under way at its end are given up."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self._tasks = None
                await end(self._running)

    @asynccontextmanager
    async def staged(self, conversation_id: str, stage: Stage) -> AsyncIterator[Room]:
        """Have the bots of a conversation heard on a stage for the length of the block.

        The room is there from the beginning, also before this server owns the conversation. At its
        end whoever was heard is interrupted, and that turn logged.

        Raises:
            Refused: it has a stage on this server already.
        """
        room = self._open(conversation_id)
        if room.stage is not None:
            raise Refused("staged", f"{conversation_id}: its bots are heard in another room here")
        progress = Progress(conversation_id, self._note, self._clock)
        room.set_stage(stage, progress)
        try:
            async with background(progress.run()):
                yield room
        finally:
            room.unstage()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_S):
                    await room.at_rest.wait()

    # -- one room --------------------------------------------------------------------------------

    async def _run(self, conversation_id: str, room: Room) -> None:
        try:
            while room.stage or room.turns or room.changed.is_set() or room.speech:
                try:
                    if not await self._step(conversation_id, room):
                        break
                except (StateError, SwarmError) as error:
                    log.warning("room.stopped", conversation_id=conversation_id, error=str(error))
                except Exception:
                    # A defect in one room, or in a plugin that it uses, is not the others' affair.
                    log.exception("room.failed", conversation_id=conversation_id)
                else:
                    continue
                if room.stage is None:
                    break
                await room.woken()
        finally:
            del self._rooms[conversation_id]

    async def _step(self, conversation_id: str, room: Room) -> bool:
        """Do the next thing; False: there is nothing to do for this server."""
        owned = self._outage.owns(conversation_id)
        if not owned and room.stage is None:
            return False
        if owned and room.speech is not None:
            await self._cut(conversation_id, room)
        elif owned and room.changed.is_set():
            room.changed.clear()
            await self._apply(conversation_id)
        elif room.waits(self._clock.monotonic()):
            await self._wait_for_stage(room)
        elif owned and room.turns and not room.floor.people:
            room.at_rest.clear()
            try:
                rest_s = await self._answer(conversation_id, room, room.next_turn())
            finally:
                room.at_rest.set()
            if rest_s:
                await self._rest(conversation_id, room, rest_s)
        else:
            await room.woken()
        return True

    async def _cut(self, conversation_id: str, room: Room) -> None:
        """Make a turn of a speech that nobody ends: no reply is under way here now."""
        room.speech = None
        state = await self._outage.read(conversation_id)
        if state is not None and state.speech is not None:
            await self.replies.cut(state.id, state.speech)

    async def _wait_for_stage(self, room: Room) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(room.stage_until - self._clock.monotonic()):
                await room.woken()

    async def _answer(self, conversation_id: str, room: Room, turn: Message) -> float:
        """Let the bots answer that should; return how long all rest before the next turn."""
        state = await self._state(conversation_id)
        if state is None:
            return 0.0
        rest_s = 0.0
        records = await self._in_force.bots(state)
        configs = {bot: record.body for bot, record in records.items() if record is not None}
        choice = who_answers(state, turn, configs=configs)
        for bot_id in choice.bots:
            if room.speech is not None:
                await self._cut(conversation_id, room)
            # Read anew for each: the bots hear each other.
            state = await self._state(conversation_id)
            if state is None:
                return 0.0
            if bot_id in records and records[bot_id] is None:
                # Nobody may speak in its name and not know who it is.
                continue
            verdict = floor.ask(room.floor, state, bot_id, configs.get(bot_id))
            attempt = speeches.attempt(state, turn, bot_id)
            if not verdict.granted or attempt is None:
                log.debug("floor.refused", bot=bot_id, reason=verdict.reason)
                continue
            room.floor = floor.grant(room.floor, bot_id)
            try:
                await self.replies.reply(room, state, turn, bot_id, attempt, records.get(bot_id))
                rest_s = effective(state.config.limits).cycle_delay_s
            except Exception as error:
                # Whatever a provider's library raises: that one bot says nothing, the others do.
                log.warning(
                    "reply.failed", conversation_id=conversation_id, bot=bot_id, error=repr(error)
                )
            finally:
                room.floor = floor.release(room.floor, bot_id)
            if room.floor.people:
                # Considered again when they have spoken, if nothing newer makes it needless.
                room.put_back(turn)
                return 0.0
        return rest_s

    async def _state(
        self, conversation_id: str, *, exact: bool = False
    ) -> ConversationState | None:
        """Return a running conversation as its rules see it: with all that it inherits.

        Raises:
            RulesUnknown: that cannot be read now; without `exact`, and never was.
        """
        state = await self._outage.read(conversation_id)
        if state is None or state.status != "running":
            return None
        return in_effect(state, await self._in_force.inherited(state, exact=exact))

    async def _rest(self, conversation_id: str, room: Room, rest_s: float) -> None:
        """Let the bots rest, and apply meanwhile what is edited."""
        until = self._clock.monotonic() + rest_s
        while (left_s := until - self._clock.monotonic()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    await room.changed.wait()
            except TimeoutError:
                return
            room.changed.clear()
            await self._apply(conversation_id)

    async def _apply(self, conversation_id: str) -> None:
        """Report what the next reply will obey. Nothing is spoken now: this is the safe point."""
        try:
            state = await self._state(conversation_id)
            if state is not None:
                await self._reports.all(state)
        except (StateError, SwarmError) as error:
            # The turns that wait are answered all the same, and each reply reports anew.
            log.warning("config.unreported", conversation_id=conversation_id, error=str(error))
