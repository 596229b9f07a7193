"""One running conversation at work: the turns still to be considered, who speaks, and where."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from src.state.cutting import cut_short
from src.swarm.dialogue import floor
from src.swarm.dialogue.floor import Floor
from src.swarm.dialogue.progress import Progress
from src.swarm.dialogue.stage import Stage
from src.swarm.shapes.models import Message, Speech

MAX_WAITING_TURNS = 100


class Room:
    """Memory of one server; without turns and without a stage it is gone."""

    __slots__ = (
        "_woken",
        "at_rest",
        "away",
        "changed",
        "floor",
        "progress",
        "reply",
        "speech",
        "stage",
        "stage_until",
        "turns",
    )

    def __init__(self) -> None:
        self.turns: deque[Message] = deque(maxlen=MAX_WAITING_TURNS)
        self.floor = Floor()
        self.stage: Stage | None = None
        """Where its bots are heard; None: a text room."""
        self.progress: Progress | None = None
        """What the log is told of who is heard there."""
        self.speech: Speech | None = None
        """What is being said aloud by the log. Between two replies it is nobody's: it was cut."""
        self.stage_until = 0.0
        """Until when a stage is waited for, by the clock of intervals: its bots were heard."""
        self.changed = asyncio.Event()
        """A config that it depends on has another version than the one it reported."""
        self.away = asyncio.Event()
        """This server has lost the conversation: whoever staged it has to fetch it again."""
        self.at_rest = asyncio.Event()
        """No bot is at its answer: what was said last is logged."""
        self.at_rest.set()
        self.reply: asyncio.Timeout | None = None
        """Ends the reply under way."""
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Have the room look again at what there is to do."""
        self._woken.set()

    async def woken(self) -> None:
        """Wait until there may be something to do."""
        await self._woken.wait()
        self._woken.clear()

    def add(self, turns: Sequence[Message]) -> int:
        """Queue turns; return how many older ones had to go for them."""
        left_out = max(0, len(self.turns) + len(turns) - MAX_WAITING_TURNS)
        self.turns.extend(turns)
        self.wake()
        return left_out

    def next_turn(self) -> Message:
        """Take the next turn. On a stage, who went on speaking is answered once, to the last."""
        turn = self.turns.popleft()
        while self.stage is not None and any(
            later.author == turn.author and turn.author.kind == "person" for later in self.turns
        ):
            turn = self.turns.popleft()
        return turn

    def put_back(self, turn: Message) -> None:
        """Have a turn considered again, before the others."""
        if len(self.turns) < MAX_WAITING_TURNS:
            self.turns.appendleft(turn)

    def waits(self, now: float) -> bool:
        """Whether its bots say nothing yet, since they were heard and shall be again."""
        return self.stage is None and now < self.stage_until

    def set_stage(self, stage: Stage, progress: Progress) -> None:
        """Have its bots heard from now on."""
        self.stage, self.progress, self.stage_until = stage, progress, 0.0
        self.wake()

    # -- the floor -------------------------------------------------------------------------------

    def person_starts(self, person_id: str) -> None:
        """Let a person speak; the bot that thinks or speaks is stopped."""
        self.floor, holder = floor.person_starts(self.floor, person_id)
        if holder is not None and self.reply is not None:
            cut_short(self.reply)

    def person_stops(self, person_id: str) -> None:
        """Note that a person has stopped, or is gone."""
        self.floor = floor.person_stops(self.floor, person_id)
        self.wake()

    def unstage(self) -> None:
        """Be a text room again: nobody is heard any more."""
        self.stage, self.progress, self.floor = None, None, Floor()
        if self.reply is not None:
            cut_short(self.reply)
        self.wake()
