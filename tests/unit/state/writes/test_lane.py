"""Lanes that close while somebody waits, and lanes that several ask for: nobody is left behind.

And one lane by itself: what it decides, keeps and says of itself.
"""

import asyncio
from datetime import timedelta

import pytest

from src.state.errors import EventRefused, NotFound, OwnershipLost, Refused, VersionConflict
from src.state.models import ZERO, Ack, Announcement, Durability, Version
from src.state.writes.lane import Lane, Pending
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster, Server
from tests.support.kinds import (
    BEGAN,
    NOTEBOOKS,
    Break,
    Command,
    Notebook,
    Once,
    Refuse,
    Write,
    notebook,
)


def hear_of_a_newer_owner(server: Server, id: str) -> None:
    """Tell a server that somebody wrote under a higher epoch than its own."""
    lane = server.notebooks.holdings.find(id)
    assert lane is not None
    newer = Version(lane.epoch + 1, lane.version.seq + 1)
    server.heard(Announcement("notebook", id, newer))


@virtual_time
async def test_command_that_waits_behind_a_batch_is_turned_away_when_its_lane_closes() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.write("m", "one")
        a.log_link.hold()
        in_flight = asyncio.ensure_future(a.write("m", "two"))
        await settle()
        waiting = asyncio.ensure_future(a.write("n", "two"))
        await settle()
        hear_of_a_newer_owner(a, "n")
        await settle()
        taken_anew = asyncio.ensure_future(a.write("n", "three"))
        await settle()
        a.log_link.release()
        with pytest.raises(OwnershipLost):
            await waiting
        assert (await in_flight).version.seq == 2
        assert (await taken_anew).version.seq == 2
        assert a.notebooks.commit.waiting == 0
    assert cluster.texts("n") == ["one", "three"]


@virtual_time
async def test_buffered_change_is_not_acknowledged_on_a_lane_that_closed_as_it_came() -> None:
    """Between the load of a state and the turn of whoever waited for it another server took it."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.notebooks.drain()
        writing = asyncio.ensure_future(a.write("n", "two", durability=Durability.BUFFERED))
        while a.notebooks.holdings.find("n") is None:
            assert not writing.done()
            await asyncio.sleep(0)
        hear_of_a_newer_owner(a, "n")
        with pytest.raises(OwnershipLost):
            await writing
        await advance(6)
    assert cluster.texts("n") == ["one"]


@virtual_time
async def test_creation_is_not_refused_because_somebody_asked_before_it_was_there() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        a.owner_link.hold()
        asking = asyncio.ensure_future(
            a.notebooks.submit("n", Write(("no",)), key="no", actor="ada", create=False)
        )
        await settle()
        creating = asyncio.ensure_future(a.write("n", "one"))
        await settle()
        a.owner_link.release()
        assert (await creating).version.seq == 1
        with pytest.raises(NotFound):
            await asking
    assert cluster.texts("n") == ["one"]


@virtual_time
async def test_many_who_ask_for_what_is_not_there_are_all_told_so() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        asked = await asyncio.gather(
            *(
                a.notebooks.submit("n", Write(("no",)), key=f"{i}", actor="ada", create=False)
                for i in range(5)
            ),
            return_exceptions=True,
        )
    assert [type(answer) for answer in asked] == [NotFound] * 5
    assert cluster.texts("n") == []


# -- one lane ------------------------------------------------------------------------------------


def lane(*lines: str, epoch: int = 7) -> Lane[Notebook, Command]:
    """A lane with these lines logged, one event each, under epoch 1."""
    entry = notebook("n", Version(1, len(lines)), *lines) if lines else None
    return Lane(NOTEBOOKS, "n", epoch, entry, 0.0)


def waiting(
    command: Command | None, key: str = "k", if_version: Version | None = None
) -> Pending[Notebook, Command]:
    answer: asyncio.Future[Ack[Notebook]] = asyncio.get_running_loop().create_future()
    return Pending(command, key, "ada", if_version, answer)


@virtual_time
async def test_lane_is_idle_when_nothing_waits_nothing_is_sent_and_nothing_is_buffered() -> None:
    one = lane("one")
    assert (one.idle, one.quiet, one.unanswered) == (True, True, [])
    pending = waiting(Write(("two",)))
    one.queue.append(pending)
    assert (one.idle, one.quiet, one.unanswered) == (False, False, [pending])
    decided = one.decide(BEGAN)
    assert (one.idle, one.quiet, one.unanswered) == (False, False, [pending])
    one.settle(decided)
    assert (one.idle, one.quiet, one.unanswered) == (True, True, [])
    one.buffer(Write(("three",)), "b", "ada", BEGAN)
    assert (one.idle, one.quiet) == (False, True)


@virtual_time
async def test_lane_of_what_is_not_there_yet_is_idle_and_empty_but_takes_nothing_at_once() -> None:
    one = lane()
    assert (one.idle, one.quiet, one.size) == (True, False, 0)
    assert (one.version, one.state, one.entry) == (ZERO, None, None)


@virtual_time
async def test_size_is_that_of_the_state_and_of_what_came_since() -> None:
    one = lane("one")
    body = len(NOTEBOOKS.encode_state(Notebook(("one",))))
    assert one.size == body
    one.queue.append(waiting(Write(("two",))))
    decided = one.decide(BEGAN)
    one.settle(decided)
    assert one.size == body + decided.size > body
    before = one.size
    entry = one.buffer(Write(("three",)), "b", "ada", BEGAN)
    assert one.size > before
    entry.body(NOTEBOOKS.encode_state)
    one.settle(one.decide(BEGAN))
    assert one.size >= len(NOTEBOOKS.encode_state(one.state or Notebook()))


@virtual_time
async def test_time_never_goes_back_within_an_aggregate() -> None:
    one = lane("one")
    assert one.time(BEGAN) == BEGAN
    one.at = BEGAN
    later, earlier = BEGAN + timedelta(seconds=1), BEGAN - timedelta(seconds=1)
    assert (one.time(later), one.time(earlier)) == (later, BEGAN)
    one.queue.append(waiting(Write(("two",))))
    assert one.decide(earlier).events[0].at == BEGAN


@virtual_time
async def test_answers_to_the_last_keys_are_remembered_and_the_oldest_go_first() -> None:
    one = lane("one")
    for n in range(65):
        one.remember(f"k{n}", Version(7, n))
    assert (len(one.keys), "k0" in one.keys, "k1" in one.keys) == (64, False, True)


@virtual_time
async def test_commands_build_on_each_other_and_events_are_numbered_without_a_hole() -> None:
    one = lane("one")
    one.queue.extend([waiting(Write(("two", "three")), "a"), waiting(Write(("four",)), "b")])
    decided = one.decide(BEGAN)
    assert [event.version for event in decided.events] == [Version(7, seq) for seq in (2, 3, 4)]
    assert [event.event_id for event in decided.events] == ["a:0", "a:1", "b:0"]
    assert (decided.version, decided.claim.base_seq, decided.claim.epoch) == (Version(7, 4), 1, 7)
    assert [pending.version.seq for pending in decided.pendings] == [3, 4]
    assert decided.state == Notebook(("one", "two", "three", "four"))
    assert (one.state, one.in_flight) == (Notebook(("one",)), True)


@virtual_time
async def test_repeat_within_a_batch_of_a_kept_key_or_of_a_known_one_adds_nothing() -> None:
    one = lane("one")
    one.remember("kept", Version(1, 1))
    known = waiting(Write(("no",)), "known")
    known.known = Version(1, 1)
    first, again = waiting(Write(("two",)), "a"), waiting(Write(("two",)), "a")
    kept = waiting(Write(("no",)), "kept")
    one.queue.extend([first, again, kept, known])
    decided = one.decide(BEGAN)
    assert [(p.version.seq, p.repeated) for p in decided.pendings] == [
        (2, False),
        (2, True),
        (1, True),
        (1, True),
    ]
    assert len(decided.events) == 1


@virtual_time
async def test_refused_and_broken_commands_cost_themselves_alone() -> None:
    one = lane("one")
    refused, broken, conflict = (
        waiting(Refuse()),
        waiting(Break(), "b"),
        waiting(Write(("x",)), "c", Version(1, 7)),
    )
    last = waiting(Write(("two",)), "last", Version(1, 1))
    one.queue.extend([refused, broken, conflict, last])
    decided = one.decide(BEGAN)
    assert [type(p.refusal) for p in decided.pendings] == [
        Refused,
        EventRefused,
        VersionConflict,
        type(None),
    ]
    assert decided.state == Notebook(("one", "two"))
    one.settle(decided)
    assert list(one.keys) == ["last"]


@virtual_time
async def test_command_that_adds_nothing_has_the_version_that_there_is() -> None:
    one = lane("one")
    pending, barrier, last = waiting(Write(())), waiting(None, ""), waiting(Write(("two",)), "z")
    one.queue.extend([pending, barrier, last])
    decided = one.decide(BEGAN)
    assert (pending.version, barrier.version) == (Version(1, 1), Version(1, 1))
    assert (last.version, len(decided.events)) == (Version(7, 2), 1)
    one.settle(decided)
    assert list(one.keys) == ["k", "z"]


@virtual_time
async def test_entry_stays_the_same_when_nothing_was_logged() -> None:
    one, empty = lane("one"), lane()
    before = one.entry
    assert one.settle(one.decide(BEGAN)) is before
    assert empty.settle(empty.decide(BEGAN)) is None
    buffered = one.buffer(Write(("two",)), "b", "ada", BEGAN)
    decided = one.decide(BEGAN)
    decided.events.clear()
    assert one.settle(decided) is buffered


@virtual_time
async def test_no_more_is_taken_than_was_asked_for_or_than_one_batch_may_add() -> None:
    one = lane("one")
    one.queue.extend(waiting(Write((f"{n}",)), f"{n}") for n in range(202))
    assert len(one.decide(BEGAN, 1).pendings) == 1
    decided = one.decide(BEGAN)
    assert (len(decided.events), len(one.queue)) == (200, 1)


@virtual_time
async def test_buffered_events_come_first_and_get_their_numbers_in_the_batch() -> None:
    one = lane("one")
    entry = one.buffer(Write(("two", "three")), "b", "ada", BEGAN)
    assert (entry.version, entry.ahead, entry.state.lines) == (
        Version(1, 1),
        Version(7, 3),
        ("one", "two", "three"),
    )
    again = waiting(Write(("no",)), "b")
    one.queue.extend([again, waiting(Write(("four",)), "k")])
    decided = one.decide(BEGAN)
    assert [(event.event_id, event.version.seq) for event in decided.events] == [
        ("b:0", 2),
        ("b:1", 3),
        ("k:0", 4),
    ]
    assert again.repeated
    settled = one.settle(decided)
    assert settled is not None
    assert (settled.version, settled.ahead) == (Version(7, 4), None)
    assert (one.buffered, one.tip, one.keys["b"]) == ([], one.state, Version(7, 3))
    assert one.at == BEGAN


@virtual_time
async def test_key_of_a_buffered_command_leads_to_where_it_was_logged() -> None:
    one = lane("one")
    one.buffer(Write(("two", "three")), "b", "ada", BEGAN)
    one.settle(one.decide(BEGAN))
    assert one.keys["b"] == Version(7, 3)


@virtual_time
async def test_nothing_is_buffered_on_what_is_not_there() -> None:
    with pytest.raises(Refused, match="no state yet"):
        lane().buffer(Write(()), "b", "ada", BEGAN)


@virtual_time
async def test_what_is_put_back_waits_in_its_order_before_the_rest_and_as_if_new() -> None:
    one = lane("one")
    first, second, third = (waiting(Once("one"), key) for key in "abc")
    one.queue.extend([first, second])
    decided = one.decide(BEGAN)
    assert [pending.refusal is None for pending in decided.pendings] == [False, False]
    one.queue.append(third)
    one.reopen(decided)
    assert (list(one.queue), one.in_flight) == ([first, second, third], False)
    assert first.refusal is None
    decided = one.decide(BEGAN)
    one.reopen(decided, [second])
    assert list(one.queue) == [first, third]


@virtual_time
async def test_buffered_events_that_are_in_the_log_already_are_not_sent_again() -> None:
    one = lane("one")
    one.buffer(Write(("two",)), "a", "ada", BEGAN)
    one.buffer(Write(("three",)), "b", "ada", BEGAN)
    assert not one.drop_logged({("other", "a:0"): Version(7, 2)})
    assert one.drop_logged({("n", "a:0"): Version(7, 2)})
    assert [event.event_id for _, event in one.buffered] == ["b:0"]
    assert one.keys["a"] == Version(7, 2)


@virtual_time
async def test_state_shows_nothing_ahead_once_all_that_was_buffered_was_in_the_log() -> None:
    one = lane("one")
    one.buffer(Write(("two",)), "a", "ada", BEGAN)
    assert one.entry is not None
    assert one.entry.ahead == Version(7, 2)
    one.drop_logged({("n", "a:0"): Version(1, 1)})
    settled = one.settle(one.decide(BEGAN))
    assert settled is not None
    assert (settled.ahead, settled.state, one.tip) == (None, one.state, one.state)
    assert settled is one.settle(one.decide(BEGAN))
