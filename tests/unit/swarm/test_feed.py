"""Following: in order, without a gap, woken by whatever is heard, and cheap for the log."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from src.state.errors import DurableTierUnavailable
from src.state.models import Entry, Event, Version
from src.state.protocols import PAGE
from src.state.tiers.memory_database import MemoryDatabase
from src.state.tiers.memory_log import MemoryLog
from src.swarm.feed import Feed
from src.swarm.pending import Bounds, PendingEvent, PendingRooms
from src.swarm.rules.conversations import CONVERSATIONS
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Link
from tests.support.kinds import written
from tests.support.rooms import SCOUT, Swarm
from tests.unit.swarm.given import Story

STATE = Story().state


class Lab:
    """A feed on a log of which the test is the owner."""

    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.link = Link(self.database.trip, DurableTierUnavailable)
        event_log = MemoryLog(CONVERSATIONS, self.database, trip=self.link.trip)
        self.owns = False
        rooms = PendingRooms(CONVERSATIONS, Bounds(0, 0, 0))
        self.feed = Feed(event_log, rooms, owns=lambda _: self.owns)

    def log(self, *seqs: int) -> list[Event]:
        """Have events logged, by whoever owns the conversation."""
        events = [written("c", 1, seq) for seq in seqs]
        self.database.events["events"]["c"] += events
        return events

    def log_here(self, *seqs: int) -> None:
        """Have events logged by this server."""
        events = self.log(*seqs)
        self.feed.logged(Entry("c", events[-1].version, STATE), events)

    def log_there(self, *seqs: int) -> None:
        """Have events logged by another server, which announces them."""
        self.log(*seqs)
        self.feed.heard("c", Version(1, seqs[-1]))

    def follow(self, after: int = 0) -> "Follower":
        return Follower(self.feed, after)


class Follower:
    """Takes note of the events it is given, until it is stopped."""

    def __init__(self, feed: Feed, after: int) -> None:
        self.seqs: list[int] = []
        self._task = asyncio.ensure_future(self._follow(feed, after))

    async def _follow(self, feed: Feed, after: int) -> None:
        async with feed.follow("c", after=after) as events:
            async for event in events:
                assert not isinstance(event, PendingEvent)
                self.seqs.append(event.version.seq)

    @property
    def over(self) -> bool:
        return self._task.done()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def logged(events: AsyncIterator[Event | PendingEvent]) -> Event:
    event = await anext(events)
    assert isinstance(event, Event)
    return event


async def first(events: AsyncIterator[Event | PendingEvent], count: int) -> Sequence[int]:
    return [(await logged(events)).version.seq for _ in range(count)]


# -- order and completeness ----------------------------------------------------------------------


@virtual_time
async def test_past_comes_before_what_is_logged_now() -> None:
    lab = Lab()
    lab.log(1, 2, 3)
    async with lab.feed.follow("c", after=0) as events:
        assert await first(events, 3) == [1, 2, 3]
        lab.log_here(4, 5)
        assert await first(events, 2) == [4, 5]


@virtual_time
async def test_follower_begins_after_what_it_has_seen() -> None:
    lab = Lab()
    lab.log(1, 2, 3)
    async with lab.feed.follow("c", after=2) as events:
        assert await first(events, 1) == [3]


@virtual_time
async def test_late_follower_gets_what_the_others_got() -> None:
    lab = Lab()
    early = lab.follow()
    await settle()
    lab.log_here(1, 2)
    lab.log_here(3)
    await settle()
    late, later = lab.follow(), lab.follow(after=2)
    await settle()
    lab.log_here(4)
    await settle()
    assert (early.seqs, late.seqs, later.seqs) == ([1, 2, 3, 4], [1, 2, 3, 4], [3, 4])
    for follower in (early, late, later):
        await follower.stop()


@virtual_time
async def test_no_event_is_left_out_where_another_server_logged_in_between() -> None:
    """What this server logs as the owner does not follow on what it knows."""
    lab = Lab()
    follower = lab.follow()
    await settle()
    lab.log_here(1, 2)
    await settle()
    lab.log(3, 4, 5)
    lab.log_here(6)
    await settle()
    assert follower.seqs == [1, 2, 3, 4, 5, 6]
    await follower.stop()


@virtual_time
async def test_slow_follower_misses_nothing_that_memory_has_let_go() -> None:
    lab = Lab()
    async with lab.feed.follow("c", after=0) as events:
        for seq in range(1, 1001):
            lab.log_here(seq)
        assert await first(events, 1000) == list(range(1, 1001))


@virtual_time
async def test_event_is_given_once_however_often_it_is_heard_of() -> None:
    lab = Lab()
    follower = lab.follow()
    await settle()
    lab.log_here(1)
    for _ in range(3):
        lab.feed.heard("c", Version(1, 1))
        lab.feed.doubt()
        await settle()
    lab.log_there(2)
    lab.feed.heard("c", Version(1, 1))
    await settle()
    assert follower.seqs == [1, 2]
    await follower.stop()


# -- being woken ---------------------------------------------------------------------------------


@virtual_time
async def test_announcement_wakes_a_follower_at_once() -> None:
    lab = Lab()
    follower = lab.follow()
    await settle()
    lab.log_there(1, 2)
    await settle()
    assert follower.seqs == [1, 2]
    await follower.stop()


@virtual_time
async def test_follower_looks_for_itself_when_something_was_missed() -> None:
    lab = Lab()
    follower = lab.follow()
    await settle()
    lab.log(1)
    await settle()
    assert follower.seqs == []
    lab.feed.doubt()
    await settle()
    assert follower.seqs == [1]
    lab.log(2)
    await advance(5.1)
    assert follower.seqs == [1, 2]
    await follower.stop()


@virtual_time
async def test_doubt_while_a_follower_is_busy_with_the_newest_makes_it_look() -> None:
    lab = Lab()
    async with lab.feed.follow("c", after=0) as events:
        reading = asyncio.ensure_future(first(events, 1))
        await settle()
        lab.log_here(1)
        assert await reading == [1]
        # Between two of its questions: the first event is given, the next not asked for yet.
        lab.log(2)
        lab.feed.doubt()
        async with asyncio.timeout(0.1):
            assert await first(events, 1) == [2]


@virtual_time
async def test_what_one_follower_finds_before_it_is_announced_the_others_hear_of_then() -> None:
    lab = Lab()
    waiting = lab.follow()
    await settle()
    lab.log(1)
    looking = lab.follow()
    await settle()
    assert (waiting.seqs, looking.seqs) == ([], [1])
    lab.feed.heard("c", Version(1, 1))
    await settle()
    assert waiting.seqs == [1]
    for follower in (waiting, looking):
        await follower.stop()


@virtual_time
async def test_past_longer_than_a_page_is_read_to_its_end_by_all() -> None:
    lab = Lab()
    lab.log(*range(1, 2 * PAGE + 2))
    followers = [lab.follow(), lab.follow()]
    await settle()
    late = lab.follow(after=PAGE - 1)
    await settle()
    assert [len(follower.seqs) for follower in followers] == [2 * PAGE + 1] * 2
    assert late.seqs[-1] == 2 * PAGE + 1
    for follower in (*followers, late):
        await follower.stop()


@virtual_time
async def test_followers_on_an_owner_are_shown_what_its_predecessor_told_nobody() -> None:
    lab = Lab()
    follower = lab.follow()
    await settle()
    [event] = lab.log(1)
    lab.owns = True
    lab.feed.owned(Entry("c", event.version, STATE))
    await settle()
    assert follower.seqs == [1]
    await follower.stop()


@virtual_time
async def test_owner_that_was_told_that_something_was_missed_looks_as_well() -> None:
    lab = Lab()
    lab.owns = True
    follower = lab.follow()
    await settle()
    lab.log(1)
    lab.feed.doubt()
    await settle()
    assert follower.seqs == [1]
    await follower.stop()


@virtual_time
async def test_owner_whose_log_did_not_answer_looks_again_soon() -> None:
    lab = Lab()
    lab.owns, lab.link.up = True, False
    lab.log(1)
    follower = lab.follow()
    await settle()
    lab.link.up = True
    await advance(1)
    assert follower.seqs == [1]
    await follower.stop()


@virtual_time
async def test_who_owns_it_no_more_looks_for_itself_again() -> None:
    lab = Lab()
    lab.owns = True
    follower = lab.follow()
    await advance(60)
    lab.owns = False
    lab.log(1)
    await advance(5.1)
    assert follower.seqs == [1]
    await follower.stop()


@virtual_time
async def test_announcement_during_anothers_read_is_not_answered_by_that_read() -> None:
    """A follower that looks for itself read the log before there was anything to find."""
    lab = Lab()
    looking = lab.follow()
    await settle()
    lab.link.hold_answers()
    lab.feed.doubt()
    await settle()
    joining = lab.follow()
    lab.log_there(1)
    await settle()
    lab.link.release()
    await settle()
    assert (looking.seqs, joining.seqs) == ([1], [1])
    for follower in (looking, joining):
        await follower.stop()


@virtual_time
async def test_read_that_the_log_did_not_answer_is_made_again_soon() -> None:
    lab = Lab()
    follower = lab.follow()
    await settle()
    lab.link.up = False
    lab.log_there(1)
    await settle()
    lab.link.up = True
    await advance(1)
    assert follower.seqs == [1]
    await follower.stop()


# -- what it costs -------------------------------------------------------------------------------


@virtual_time
async def test_events_of_the_owner_cost_no_read() -> None:
    lab = Lab()
    followers = [lab.follow() for _ in range(10)]
    await settle()
    before = lab.link.trips
    for seq in range(1, 51):
        lab.log_here(seq)
        await settle()
    assert all(follower.seqs == list(range(1, 51)) for follower in followers)
    assert lab.link.trips - before == 0
    for follower in followers:
        await follower.stop()


@virtual_time
async def test_quiet_conversation_costs_its_owner_no_read() -> None:
    lab = Lab()
    lab.owns = True
    followers = [lab.follow() for _ in range(10)]
    await settle()
    before = lab.link.trips
    await advance(600)
    assert lab.link.trips == before
    lab.log_here(1)
    await settle()
    assert [follower.seqs for follower in followers] == [[1]] * 10
    for follower in followers:
        await follower.stop()


@virtual_time
async def test_past_that_fits_into_a_page_costs_one_read() -> None:
    lab = Lab()
    lab.log(1, 2, 3)
    before = lab.link.trips
    follower = lab.follow()
    await settle()
    assert follower.seqs == [1, 2, 3]
    assert lab.link.trips - before == 1
    await follower.stop()


@virtual_time
async def test_many_followers_of_one_conversation_make_one_read() -> None:
    lab = Lab()
    followers = [lab.follow() for _ in range(100)]
    await settle()
    before = lab.link.trips
    lab.log_there(1, 2, 3)
    await settle()
    assert all(follower.seqs == [1, 2, 3] for follower in followers)
    assert lab.link.trips - before == 1
    for follower in followers:
        await follower.stop()


@virtual_time
async def test_nothing_is_kept_without_a_follower() -> None:
    lab = Lab()
    lab.log_here(1)
    lab.feed.heard("c", Version(1, 1))
    follower, other = lab.follow(), lab.follow()
    await settle()
    assert len(lab.feed) == 2
    await follower.stop()
    assert len(lab.feed) == 1
    await other.stop()
    assert len(lab.feed) == 0


# -- on two servers ------------------------------------------------------------------------------


@virtual_time
async def test_conversation_is_followed_alike_on_its_owner_and_elsewhere() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT)
        async with (
            a.service.follow("c", after=0) as on_owner,
            b.service.follow("c", after=0) as elsewhere,
        ):
            for number in range(20):
                await (a if number % 2 else b).say(f"{number}")
            names = [event.event_id for event in swarm.log()]
            for events in (on_owner, elsewhere):
                async with asyncio.timeout(0.5):
                    assert [(await logged(events)).event_id for _ in names] == names


@virtual_time
async def test_followers_end_on_another_branch_and_who_comes_back_reads_that() -> None:
    """What they have seen may be gone, and its numbers are given to other events."""
    lab = Lab()
    followers = [lab.follow(), lab.follow(after=2)]
    lab.log_here(1, 2, 3)
    await settle()
    del lab.database.events["events"]["c"][1:]
    lab.database.events["events"]["c"] += [written("c", 2, seq, "another") for seq in (2, 3, 4)]
    lab.feed.branched()
    await settle()
    assert [follower.over for follower in followers] == [True, True]
    async with lab.feed.follow("c", after=1) as events:
        assert [(await logged(events)).version for _ in range(3)] == [
            Version(2, 2),
            Version(2, 3),
            Version(2, 4),
        ]
    assert len(lab.feed) == 0


@virtual_time
async def test_what_is_kept_for_followers_is_bounded_in_bytes_and_they_still_get_everything() -> (
    None
):
    lab = Lab()
    follower = lab.follow()
    await settle()
    for seq in range(1, 31):
        event = written("c", 1, seq, "x" * 100_000)
        lab.database.events["events"]["c"].append(event)
        lab.feed.logged(Entry("c", event.version, STATE), [event])
    kept = lab.feed.buffers()["feed_bytes"]
    assert kept.bound / 2 < kept.size <= kept.bound == 1 << 20
    await settle()
    assert follower.seqs == list(range(1, 31))
    await follower.stop()
    assert lab.feed.buffers()["feed_bytes"].size == 0
