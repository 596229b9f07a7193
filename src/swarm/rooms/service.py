"""Rooms on a server: made, entered, ended; and the one swarm that is sent to each of their lives.

LiveKit forgets a room soon after everybody has left, and then begins it anew under the same name
for whoever returns, without a swarm. So each time somebody may have found a new life of a room it
is looked whether the swarm was sent to this one, and one server sends it. Who may notice: a token
that is asked for, LiveKit's webhook, and a look at all of its rooms every half minute.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

import structlog

from src.state.errors import NotFound, Refused, VersionConflict
from src.state.models import Term
from src.state.records.rooms import Room, Rooms
from src.state.records.swarm_queue import Queued
from src.swarm.errors import MediaUnavailable
from src.swarm.rooms.protocols import BOT_PREFIX, Heard, LiveRoom, Media, agent_of
from src.swarm.rooms.queue import Queue

log = structlog.get_logger(__name__)

_KEEP_HEARD = timedelta(days=1)
"""LiveKit's signatures are good for minutes."""
_ORPHANS_AT_ONCE = 100


Finalise = Callable[[str, int], Awaitable[None]]
"""Has a life that is over finalised: (room, when it began)."""


class RoomService:
    """The rooms that are ours on one LiveKit."""

    def __init__(self, records: Rooms, media: Media, queue: Queue, finalise: Finalise) -> None:
        self._records = records
        self._media = media
        self._finalise = finalise
        self.queue = queue
        self.tokens_made = 0
        self._messages_heard = 0

    def counts(self) -> Mapping[str, float]:
        """Return the counters of this server, for metrics."""
        return {
            "room_tokens": self.tokens_made,
            "livekit_messages": self._messages_heard,
            **self.queue.counts(),
        }

    async def find(self, id: str) -> Room | None:
        """Return a room, a deleted one too."""
        return await self._records.find(id)

    async def get(self, id: str) -> Room:
        """Return a room.

        Raises:
            NotFound: there is none, or it was deleted.
        """
        room = await self._records.find(id)
        if room is None or room.deleted:
            raise NotFound("room", id)
        return room

    async def list(
        self, member: str | None, cursor: str | None, limit: int
    ) -> tuple[Sequence[Room], str | None]:
        """Return a page in order of id (of one member), and where the next one begins."""
        found = await self._records.list(member, cursor or "", limit)
        return found, found[-1].id if len(found) == limit else None

    async def prepare(self, id: str, conversation_id: str) -> LiveRoom:
        """Begin a room on LiveKit, before anything else is made for it.

        If that fails there is nothing to be undone; if the rest does, LiveKit forgets an empty room
        by itself.
        """
        return await self._media.open(id, conversation_id)

    async def create(
        self, id: str, name: str, conversation_id: str, open: bool, actor: str, live: LiveRoom
    ) -> Room:
        """Add a room whose life has begun.

        Raises:
            Refused: the id is taken, or the conversation has a room.
        """
        if await self._records.create(id, name, conversation_id, open, actor) is None:
            known = await self._records.find(id)
            if known is None:
                detail = f"conversation {conversation_id} has a room already; use that one"
                raise Refused("exists", detail, field="conversation_id")
            if known.deleted or known.conversation_id != conversation_id:
                raise taken(id)
        seen = await self._records.see(id, live.sid, live.began, over=False)
        return seen or await self.get(id)

    async def edit(self, room: Room, name: str, open: bool, version: int | None) -> Room:
        """Write name and openness over `room`, or over the `version` that was asked for.

        Raises:
            VersionConflict: it has moved on meanwhile.
            NotFound: it was deleted meanwhile.
        """
        expected = room.version if version is None else version
        changed = await self._records.update(room.id, expected, name, open)
        if changed is None:
            raise VersionConflict(room.id, expected, (await self.get(room.id)).version)
        return changed

    async def delete(self, room: Room, version: int | None) -> None:
        """End a room for good, whoever is in. The conversation stays.

        Raises:
            VersionConflict: it has moved on.
            MediaUnavailable: nothing was changed, or all are out and it is still there.
        """
        if version not in (None, room.version):
            raise VersionConflict(room.id, version or 0, room.version)
        await self._media.close(room.id)
        await self._records.see(room.id, room.sid, room.began, over=True)
        # Somebody's token may begin it anew: the row stays, and by it that life is ended too.
        if not await self._records.delete(room.id, version) and version is not None:
            raise VersionConflict(room.id, version, (await self.get(room.id)).version)

    async def enter(self, room: Room) -> Room:
        """Have a room live on LiveKit, its swarm sent if one was asked for."""
        live = await self._media.open(room.id, room.conversation_id)
        room = await self._records.see(room.id, live.sid, live.began, over=False) or room
        if room.swarm:
            await self.queue.enter(room)
        return room

    async def send_swarm(self, room: Room) -> Queued:
        """Have one swarm in a room, in its present life and in each later one.

        It waits in line while no server has a free place; one that is dead stays so.

        Raises:
            MediaUnavailable: LiveKit does not answer; if it was in line, it still is.
        """
        live = await self._media.open(room.id, room.conversation_id)
        room = await self._records.see(room.id, live.sid, live.began, over=False) or room
        return await self.queue.ask(room)

    async def swarm_of(self, room: Room) -> Queued:
        """Return how the swarm comes to a room.

        Raises:
            NotFound: none was asked for, in this life.
        """
        found = await self.queue.find(room)
        if found is None:
            raise NotFound("swarm of room", room.id)
        return found

    async def recorded(self, room: Room) -> bool | None:
        """Say whether a room is recorded now, as everybody in it sees; None: LiveKit is away."""
        try:
            return await self._media.recorded(room.id)
        except MediaUnavailable:
            return None

    async def agent_joined(self, room: Room, identity: str) -> None:
        """Note that the swarm's agent is there."""
        await self._records.agent_joined(room.id, room.began, identity)

    async def hosted(self, room_id: str, identity: str) -> Room | None:
        """Note that an agent of this server hosts a room, and return it; None: it is not ours."""
        room = await self._records.find(room_id)
        if room is not None:
            await self._records.agent_joined(room.id, room.began, identity)
        return room

    async def over(self, room: Room) -> None:
        """Note that LiveKit has ended a life whose host has logged all that was said in it.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; others will notice the end.
        """
        await self._records.see(room.id, room.sid, room.began, over=True)
        await self._finalise(room.id, room.began)

    async def pass_on(self, room_id: str, identity: str) -> None:
        """Put the swarm of a room that goes on in line, whose agent of this server has left it."""
        room = await self._records.find(room_id)
        if room is None or room.over or room.deleted or room.agent != identity:
            return
        await self.queue.revive(room)
        await self.queue.serve()

    async def revive(self, server_id: str) -> int:
        """Send the swarm anew to each room that a server hosted which is dead.

        Every server that has seen the death may come here; each room is one's. Returns how many
        were this one's.

        Raises:
            DurableTierUnavailable: no answer; what was done so far is right.
        """
        revived = 0
        while rooms := await self._records.hosted(agent_of(server_id), _ORPHANS_AT_ONCE):
            for room in rooms:
                revived += await self.queue.revive(room)
        await self.queue.serve()
        return revived

    async def hear(self, heard: Heard) -> None:
        """Do what a message of LiveKit calls for, once; others' rooms are passed over.

        Messages come at least once, and those of different rooms or kinds in any order.
        """
        if await self._records.heard(heard.id):
            return
        room = await self._records.find(heard.room_id)
        if room is not None:
            await self._follow(room, heard)
            await self._records.hear(heard.id)
            self._messages_heard += 1

    async def _follow(self, room: Room, heard: Heard) -> None:
        records, over = self._records, heard.what == "ended"
        room = await records.see(room.id, heard.sid, heard.began, over=over) or room
        if room.began != heard.began or room.over:
            # Of an earlier life, or told after its end.
            return
        if room.deleted:
            await self._media.close(room.id)
        elif heard.identity.startswith(BOT_PREFIX):
            # A voice of the swarm, and not who hosts it.
            return
        elif heard.is_agent and heard.what == "joined":
            await records.agent_joined(room.id, room.began, heard.identity)
        elif heard.is_agent:
            await records.agent_left(room.id, room.began, heard.identity)
        elif heard.what == "joined" and room.swarm:
            await self.queue.enter(room)

    async def reconcile_as_duty(self, _: Term) -> None:
        """`reconcile` as the run of a duty: without LiveKit there is nothing to set right by."""
        try:
            await self.reconcile()
        except MediaUnavailable as error:
            log.warning("rooms.not_reconciled", error=str(error))

    async def reconcile(self) -> None:
        """Set right what no message told: lives that ended, swarms that are not there.

        Raises:
            MediaUnavailable: LiveKit does not answer; what was done so far is right.
        """
        before = await self._records.live()
        living = {room.id: room for room in await self._media.list()}
        for room in before:
            # What began since we looked is not in `before`.
            found = living.get(room.id)
            if found is None or found.sid != room.sid:
                await self._records.see(room.id, room.sid, room.began, over=True)
        for room in await self._records.known(sorted(living)):
            await self._set_right(room, living[room.id])
        for room in await self._records.orphaned(_ORPHANS_AT_ONCE):
            await self.delete(room, None)
        await self._records.forget(_KEEP_HEARD)
        await self.queue.serve()

    async def _set_right(self, room: Room, found: LiveRoom) -> None:
        if room.deleted:
            await self._media.close(room.id)
            return
        room = await self._records.see(room.id, found.sid, found.began, over=False) or room
        if room.swarm and not room.agent and found.people and room.began == found.began:
            try:
                await self.queue.miss(room)
            except MediaUnavailable as error:
                # It may have ended since it was listed; the others' turn must come all the same.
                log.warning("swarm.not_looked_for", room=room.id, error=str(error))


def taken(id: str) -> Refused:
    """Say that an id belongs to another room."""
    return Refused("exists", f"there is or was another room {id}; choose another id", field="id")
