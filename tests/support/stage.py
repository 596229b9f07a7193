"""The whole of a proof: servers, a client that replays meetings at them, trouble, and a verdict."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from src.embedded import Servers
from src.state.models import Event
from tests.support.cluster_processes import DEFAULTS, Cluster, open_cluster
from tests.support.evidence import all_flushed, disagreements, events_of, fold, history_of
from tests.support.history import Logged, Violation, check, speakers
from tests.support.ledger import Ledger, Line, Posted
from tests.support.linearizability import Searched, search
from tests.support.meetings import Meeting, meetings
from tests.support.readers import Readers
from tests.support.replay import WORDS_PER_S, Replay, open_replay
from tests.support.troubles import Troubles

OpenStage = Callable[..., AbstractAsyncContextManager["Stage"]]
"""`open_stage` with its stores and folder given."""
Tell = Callable[[str], None]
"""Puts what was counted into a report."""

COMPANY = 60
"""Conversations that go on beside the meetings, so that a crowd is in flight at any moment."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What the ledger, the log, the tiers and the servers say in the end."""

    turns: int
    violations: Sequence[Violation]
    miscounted: Sequence[str]
    """Conversations whose turns per speaker, or window of messages, are not the file's."""
    disagreements: Sequence[str]
    conversations: int
    cached: int
    """Conversations whose L2 body is at the end of the log."""
    reads: tuple[int, int, int]
    """Answered fresh, answered with a label, and not answered."""
    searched: Searched
    ledger: Sequence[Line]
    log: Sequence[Logged]

    def __str__(self) -> str:
        return (
            f"{self.turns} turns of {self.conversations} conversations, {self.cached} of them in "
            f"L2 as of their last turn; {self.reads} reads (fresh, labelled, unanswered); "
            f"{self.searched.windows} windows searched, {self.searched.undecided} in vain; "
            f"{len(self.violations)} violations, "
            f"{len(self.miscounted)} miscounted, {len(self.disagreements)} disagreements"
        )


class Stage:
    """Meetings on servers. Every meeting is played whole; the company plays as long as trouble."""

    def __init__(
        self,
        cluster: Cluster,
        replay: Replay,
        troubles: Troubles,
        readers: Readers,
        ledger: Ledger,
        played: Sequence[Meeting],
        company: int,
    ) -> None:
        self.cluster = cluster
        self.replay = replay
        self._company = company
        self.readers = readers
        self.troubles = troubles
        self.ledger = ledger
        self._meetings = played
        self._over = False
        self._played: dict[str, tuple[Meeting, int]] = {}

    async def perform(self, trouble: Coroutine[Any, Any, None]) -> None:
        """Play, make trouble meanwhile, and return when the last turn is acked.

        Raises:
            ExceptionGroup: a server refused a turn, or trouble did not come about.
        """
        async with asyncio.TaskGroup() as tasks:
            for meeting in self._meetings:
                tasks.create_task(self._whole(meeting))
            for seat in range(self._company):
                tasks.create_task(self._keep_company(seat))
            tasks.create_task(self.readers.read_until(lambda: self._over))
            await trouble
            self._over = True

    async def _whole(self, meeting: Meeting) -> None:
        turns = await self.replay.play(meeting, meeting.name)
        self._played[meeting.name] = (meeting, turns)

    async def _keep_company(self, seat: int) -> None:
        for number in itertools.count(seat):
            meeting = self._meetings[number % len(self._meetings)]
            conversation = f"{meeting.name}.{seat}.{number}"
            turns = await self.replay.play(meeting, conversation, until=lambda: self._over)
            self._played[conversation] = (meeting, turns)
            if self._over:
                return

    async def verdict(self) -> Verdict:
        """Wait until all is flushed, and hold everything against everything."""
        cluster = self.cluster
        await all_flushed(cluster.database)
        events = await events_of(cluster.database)
        log, ledger = history_of(events), self.ledger.read()
        differing, cached = await disagreements(
            cluster.database, cluster.redis_url, cluster.urls, cluster.token, events
        )
        return Verdict(
            sum(turns for _, turns in self._played.values()),
            check(ledger, log),
            [*self._miscounted(log), *self._wrong_windows(events, ledger)],
            differing,
            len(self._played),
            cached,
            self.readers.counts,
            search(ledger, at_once=self.readers.at_once),
            ledger,
            log,
        )

    def _miscounted(self, log: Sequence[Logged]) -> list[str]:
        found = speakers(log)
        return [
            f"{id}: turns per speaker differ from the file"
            for id, (meeting, turns) in self._played.items()
            if found.get(id, Counter()) != meeting.speakers(turns)
        ]

    def _wrong_windows(self, events: Sequence[Event], ledger: Sequence[Line]) -> list[str]:
        """Hold the state against the ledger, so that not only folds are compared with folds."""
        posted: dict[str, list[str]] = {id: [] for id in self._played}
        for line in ledger:
            if isinstance(line, Posted):
                posted[line.conversation].append(line.key)
        wrong = []
        for id, history in itertools.groupby(events, key=lambda event: event.aggregate_id):
            state = fold(list(history)).state
            window = [message.id for message in state.messages]
            told = [f"{key}:0" for key in posted[id][-len(window) :]] if window else []
            if window != told or state.stats.turns != len(posted[id]):
                wrong.append(f"{id}: the state's messages are not the last that were posted")
        return wrong


@asynccontextmanager
async def open_stage(
    database_url: str,
    redis_url: str,
    folder: Path,
    *,
    seed: int,
    words: int,
    settings: Mapping[str, str] = DEFAULTS,
    stores: Servers | None = None,
    count: int = 2,
    company: int = COMPANY,
    words_per_s: float = WORDS_PER_S,
) -> AsyncIterator[Stage]:
    """Start `count` servers and a client, whose ledger is in `folder`.

    `seed` draws all moments, and the meetings, of about `words` words each, unless they are given.
    `stores` are what may be killed. Beside the meetings `company` conversations go on.
    """
    played = meetings(seed=seed, words=words)
    with Ledger(folder / "ledger.jsonl") as ledger:
        async with (
            open_cluster(
                database_url, redis_url, folder, settings=settings, count=count
            ) as cluster,
            open_replay(
                cluster.doors, cluster.token, ledger, seed=seed, words_per_s=words_per_s
            ) as replay,
        ):
            troubles = Troubles(cluster, replay, seed, stores)
            # Not by nginx: what one server shows must never go back, which two of them may.
            readers = Readers(replay.session, cluster.servers, ledger, replay.versions, seed)
            yield Stage(cluster, replay, troubles, readers, ledger, played, company)


def assert_kept(verdict: Verdict) -> None:
    """Every acknowledged turn is there, once, in order, and all places tell the same."""
    violations = [str(one) for one in verdict.violations]
    assert violations == [], violations
    assert verdict.searched.unexplained == ()
    assert verdict.miscounted == []
    assert verdict.disagreements == []
