"""The group commit: what is acknowledged is logged once, in order, and announced."""

import asyncio
from itertools import pairwise

import pytest
from msgspec.structs import replace

from src.state.errors import (
    DurableTierUnavailable,
    EventRefused,
    NotFound,
    OutcomeUnknown,
    OwnershipLost,
    OwnershipUnknown,
    Refused,
    VersionConflict,
)
from src.state.guards import Guards
from src.state.models import Ack, Announcement, Durability, Version
from src.state.writes.lane import Pending
from src.state.writes.pressure import Colour
from tests.support.clock import advance, jump, settle, virtual_time
from tests.support.cluster import Cluster
from tests.support.kinds import Break, Notebook, Refuse, Write, claim, notebook


@virtual_time
async def test_ack_names_the_version_and_the_log_has_it() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        counted = a.notebooks.commit
        assert (counted.batches, counted.events, counted.waiting) == (0, 0, 0)
        ack = await a.write("n", "one", "two")
        assert (counted.batches, counted.events, counted.waiting) == (1, 2, 0)
    assert (ack.version.seq, ack.durability, ack.repeated) == (2, Durability.LOGGED, False)
    assert ack.entry.state.lines == ("one", "two")
    assert cluster.texts("n") == ["one", "two"]


@virtual_time
async def test_all_who_wait_share_one_statement() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await asyncio.gather(*(a.write(f"n{i}", "first") for i in range(100)))
        before = a.log_link.trips
        await asyncio.gather(*(a.write(f"n{i}", "second") for i in range(100)))
        assert a.log_link.trips - before <= 2
    assert [cluster.texts(f"n{i}") for i in range(100)] == [["first", "second"]] * 100


@virtual_time
async def test_commands_of_one_aggregate_are_taken_in_order() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        acks = await asyncio.gather(*(a.write("n", f"{i}") for i in range(500)))
    assert cluster.texts("n") == [f"{i}" for i in range(500)]
    assert [ack.version.seq for ack in acks] == list(range(1, 501))


@virtual_time
async def test_time_never_runs_backwards_along_the_log() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        # b's clock is a thousand seconds ahead: what it logged lies in a's future.
        await b.write("n", "from the future")
        await b.notebooks.drain()
        await a.write("n", "now")
    times = [event.at for event in cluster.database.events["events"]["n"]]
    assert times == sorted(times)


# -- repeats -------------------------------------------------------------------------------------


@virtual_time
async def test_repeated_key_gets_the_first_answer() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        first = await a.write("n", "one", key="k")
        await a.write("n", "two")
        again = await a.write("n", "one", key="k")
    assert (again.version, again.repeated) == (first.version, True)
    assert cluster.texts("n") == ["one", "two"]


@virtual_time
async def test_repeated_key_that_the_owner_has_forgotten_gets_the_first_answer() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        first = await a.write("n", "one", key="k")
        for i in range(200):
            await a.write("n", f"{i}")
        again = await a.write("n", "one", key="k")
        assert (again.version, again.repeated) == (first.version, True)
        assert (await a.write("n", "last")).version.seq == 202


@virtual_time
async def test_repeated_key_gets_the_first_answer_from_the_next_owner() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        first = await a.write("n", "one", "and more", key="k")
        await a.notebooks.drain()
        again = await b.write("n", "one", "and more", key="k")
    assert (again.version, again.repeated) == (first.version, True)
    assert cluster.texts("n") == ["one", "and more"]


@virtual_time
async def test_key_sent_twice_at_once_counts_once() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        others = [a.write(f"other {i}", "x") for i in range(5)]
        twice = [a.write("n", "one", key="k"), a.write("n", "one", key="k")]
        one, two, *rest = await asyncio.gather(*twice, *others)
    assert (one.version.seq, two.version.seq) == (2, 2)
    assert (one.repeated, two.repeated) == (False, True)
    assert cluster.texts("n") == ["zero", "one"]
    assert [ack.version.seq for ack in rest] == [1] * 5


@virtual_time
async def test_repeat_among_others_disturbs_nobody() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        first = await a.write("n", "one", key="k")
        await a.notebooks.drain()
        acks = await asyncio.gather(
            a.write("m", "x"),
            a.write("n", "before"),
            a.write("n", "one", key="k"),
            a.write("n", "after"),
        )
    assert acks[2].version == first.version
    assert acks[2].repeated
    assert cluster.texts("n") == ["one", "before", "after"]
    assert cluster.texts("m") == ["x"]


@virtual_time
async def test_refused_repeat_of_a_taken_command_gets_the_first_answer() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        first = await a.once("n", "one", key="k")
        await a.notebooks.drain()
        again = await b.once("n", "one", key="k")
        assert (again.version, again.repeated) == (first.version, True)
        with pytest.raises(Refused):
            await b.once("n", "one", key="another")


@virtual_time
async def test_refusals_are_not_remembered() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.once("n", "one", key="k")
        with pytest.raises(Refused):
            await a.once("n", "one", key="l")
        ack = await a.once("n", "two", key="l")
    assert not ack.repeated
    assert cluster.texts("n") == ["one", "two"]


@virtual_time
async def test_refusal_rests_on_what_is_logged() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        a.log_link.hold()
        taken = asyncio.ensure_future(a.once("n", "one", key="k"))
        await settle()
        refused = asyncio.ensure_future(a.once("n", "one", key="l"))
        await settle()
        assert not refused.done()
        a.log_link.release()
        await taken
        with pytest.raises(Refused):
            await refused


@virtual_time
async def test_refused_command_beside_good_ones() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        answers = await asyncio.gather(
            a.write("n", "one"),
            a.submit("n", Refuse(), key="r"),
            a.write("n", "two"),
            return_exceptions=True,
        )
    assert isinstance(answers[1], Refused)
    assert cluster.texts("n") == ["zero", "one", "two"]


@virtual_time
async def test_refusal_on_one_aggregate_holds_up_no_event_of_another_in_its_batch() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await asyncio.gather(a.write("n", "one"), a.write("m", "one"))
        batches = a.notebooks.commit.batches
        refused, written = await asyncio.gather(
            a.submit("n", Refuse(), key="r"), a.write("m", "two"), return_exceptions=True
        )
        assert isinstance(refused, Refused)
        assert isinstance(written, Ack)
        assert a.notebooks.commit.batches == batches + 1
    assert cluster.texts("m") == ["one", "two"]


@virtual_time
async def test_condition_on_another_version_is_a_conflict() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        one = (await a.write("n", "one")).version
        two = (await a.write("n", "two", if_version=one)).version
        assert two.seq == 2
        with pytest.raises(VersionConflict) as caught:
            await a.write("n", "three", if_version=one)
        assert (caught.value.expected, caught.value.found) == (one.token, two.token)
        # The same condition again under the same key is the same command.
        assert (await a.write("n", "two", if_version=one)).version == two


@virtual_time
async def test_condition_on_what_was_never_logged_is_a_conflict() -> None:
    """Its owner died with the buffered line, and the log has another in its place."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await a.write("n", "lost", durability=Durability.BUFFERED)
        seen = (await a.read("n")).entry
        assert seen.ahead is not None
        a.freeze()
        await advance(8)
        assert (await b.write("n", "two")).version.seq == seen.ahead.seq
        with pytest.raises(VersionConflict):
            await b.write("n", "three", if_version=seen.ahead)


@virtual_time
async def test_one_of_many_with_the_same_condition_wins() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        zero = (await a.write("n", "zero")).version
        answers = await asyncio.gather(
            *(a.write("n", f"{i}", if_version=zero) for i in range(20)), return_exceptions=True
        )
    assert sum(not isinstance(answer, VersionConflict) for answer in answers) == 1
    assert len(cluster.texts("n")) == 2


# -- defects and misfits -------------------------------------------------------------------------


@virtual_time
async def test_defect_in_the_rules_fails_its_command_and_no_other_aggregate() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        began = a.clock.monotonic()
        answers = await asyncio.gather(
            a.submit("n", Break(), key="b"), a.write("m", "x"), return_exceptions=True
        )
        assert isinstance(answers[0], EventRefused)
        assert not isinstance(answers[1], BaseException)
        assert a.clock.monotonic() - began < 1
        assert a.notebooks.commit.waiting == 0
        assert (await a.write("n", "one")).version.seq == 2


@pytest.mark.parametrize("bad", [0, 4, 5, 15])
@virtual_time
async def test_event_that_never_fits_fails_only_its_aggregate(bad: int) -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        ids = [f"n{i}" for i in range(16)]
        await asyncio.gather(*(a.write(id, "zero") for id in ids))
        answers = await asyncio.gather(
            *(a.write(id, "one", key="a\x00b" if id == f"n{bad}" else "k") for id in ids),
            return_exceptions=True,
        )
        failed = [
            id for id, answer in zip(ids, answers, strict=True) if isinstance(answer, BaseException)
        ]
        assert failed == [f"n{bad}"]
        assert isinstance(answers[bad], EventRefused)
        lane = a.notebooks.holdings.find(f"n{bad}")
        assert lane is not None
        assert not lane.in_flight
        assert [event.aggregate_id for event, _ in cluster.database.quarantine] == [f"n{bad}"]
        # Its owner goes on where the log stands.
        assert (await a.write(f"n{bad}", "two")).version.seq == 2
        assert await a.lines(f"n{bad}") == ("zero", "two")
        assert a.notebooks.commit.waiting == 0


@virtual_time
async def test_command_that_never_fits_takes_nobody_elses_with_it() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        await a.write("n", "cheap", durability=Durability.BUFFERED)
        answers = await asyncio.gather(
            a.write("n", "one"),
            a.write("n", "poison", key="a\x00b"),
            a.write("n", "two"),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [Ack, EventRefused, Ack]
        assert cluster.texts("n") == ["zero", "cheap", "one", "two"]
        assert await a.lines("n") == ("zero", "cheap", "one", "two")
        assert a.notebooks.commit.waiting == 0


@virtual_time
async def test_buffered_events_that_never_fit_are_not_shown_any_more() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        await a.write("n", "cheap", key="a\x00b", durability=Durability.BUFFERED)
        await advance(3)
        assert await a.lines("n") == ("zero",)
        assert (await a.write("n", "one")).version.seq == 2
        assert await a.lines("n") == ("zero", "one")


# -- unknown outcomes ----------------------------------------------------------------------------


@virtual_time
async def test_rows_whose_answer_was_lost_are_recognised() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        a.log_link.lost_answers = 1
        acks = await asyncio.gather(a.write("n", "one"), a.write("n", "two"), a.write("m", "x"))
        assert [ack.version.seq for ack in acks] == [2, 3, 1]
        assert await a.lines("n") == ("zero", "one", "two")
    assert cluster.texts("n") == ["zero", "one", "two"]


@pytest.mark.parametrize("lost", [1, 2, 3, 5])
@virtual_time
async def test_any_number_of_lost_answers_ends_in_one_event(lost: int) -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        a.log_link.lost_answers = lost
        assert (await a.write("n", "one")).version.seq == 2
    assert cluster.texts("n") == ["zero", "one"]


@virtual_time
async def test_lost_answer_of_a_repeat_is_still_the_first_answer() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        first = await a.write("n", "one", key="k")
        await a.notebooks.drain()
        a.log_link.lost_answers = 2
        again = await a.write("n", "one", key="k")
    assert (again.version, again.repeated) == (first.version, True)
    assert cluster.texts("n") == ["one"]


@virtual_time
async def test_caller_is_told_that_the_outcome_is_unknown_and_the_event_lands_later() -> None:
    cluster = Cluster(owner_deadline=50, dead_after=60)
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        a.log_link.up = False
        with pytest.raises(OutcomeUnknown):
            await a.write("n", "one", key="k")
        with pytest.raises(DurableTierUnavailable):
            await a.write("n", "two")
        a.log_link.up = True
        await advance(3)
        assert cluster.texts("n") == ["zero", "one"]
        assert (await a.write("n", "one", key="k")).repeated
        assert (await a.write("n", "two")).version.seq == 3


@virtual_time
async def test_caller_that_goes_away_does_not_take_its_event_back() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        a.log_link.hold()
        caller = asyncio.ensure_future(a.write("n", "one", key="k"))
        await settle()
        caller.cancel()
        await settle()
        a.log_link.release()
        await settle()
        assert cluster.texts("n") == ["zero", "one"]
        assert (await a.write("n", "one", key="k")).repeated
        assert a.notebooks.commit.waiting == 0


@virtual_time
async def test_caller_that_goes_away_keeps_no_answer_from_the_next() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        a.bus_link.hold()
        leaving = asyncio.ensure_future(a.write("n", "one"))
        staying = asyncio.ensure_future(a.write("n", "two"))
        await settle()
        leaving.cancel()
        a.bus_link.release()
        assert (await staying).version.seq == 3
        assert a.notebooks.commit.waiting == 0


@virtual_time
async def test_refused_command_makes_nothing_dirty() -> None:
    async with Cluster().open("a") as [a]:
        await a.write("n", "one")
        await a.notebooks.writebehind.flush_all()
        with pytest.raises(Refused):
            await a.submit("n", Refuse(), key="r")
        assert (len(a.notebooks.writebehind), a.notebooks.commit.events) == (0, 1)


@virtual_time
async def test_ack_waits_for_the_announcement() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        a.bus_link.hold()
        write = asyncio.ensure_future(a.write("n", "one"))
        await settle()
        assert cluster.texts("n") == ["zero", "one"]
        assert not write.done()
        a.bus_link.release()
        await write


@virtual_time
async def test_commit_is_drained_when_the_last_announcement_is_out() -> None:
    async with Cluster().open("a") as [a]:
        await a.write("n", "zero")
        a.bus_link.hold()
        write = asyncio.ensure_future(a.write("n", "one"))
        await settle()
        draining = asyncio.ensure_future(a.notebooks.commit.drained())
        await settle()
        assert not draining.done()
        a.bus_link.release()
        await draining
        assert write.done()


@virtual_time
async def test_switched_off_announcements_ack_without_telling() -> None:
    cluster = Cluster()
    async with cluster.open("a", guards=Guards(announce=False)) as [a]:
        await a.write("n", "zero")
    assert sum(counter.n for counter in cluster.space.counters) == 0


# -- ownership -----------------------------------------------------------------------------------


@virtual_time
async def test_deposed_owner_cannot_append() -> None:
    """The owner of old is frozen before its append; another takes over; then it goes on."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        a.freeze()
        late = asyncio.ensure_future(a.write("n", "late", key="late"))
        await advance(8)
        assert (await b.write("n", "two")).version.seq == 2
        a.thaw()
        with pytest.raises((OwnershipLost, OutcomeUnknown, OwnershipUnknown)):
            await late
        await advance(1)
        assert cluster.texts("n") == ["one", "two"]
        assert await a.lines("n") == ("one", "two")
    epochs = [event.version.epoch for event in cluster.database.events["events"]["n"]]
    assert all(before <= after for before, after in pairwise(epochs))


@virtual_time
async def test_switched_off_epoch_lets_a_deposed_owner_append() -> None:
    """The guard is what the test above rests on."""
    cluster = Cluster()
    async with cluster.open("a", "b", guards=Guards(epoch=False)) as [a, b]:
        await a.write("n", "one")
        a.freeze()
        late = asyncio.ensure_future(a.write("n", "late", key="late"))
        await advance(8)
        await b.write("m", "other")
        await b.notebooks.holdings.acquire("n", create=False)
        a.thaw()
        await settle()
        late.cancel()
        assert cluster.texts("n") == ["one", "late"]


@virtual_time
async def test_lost_ownership_is_terminal_for_the_commands_that_wait() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        # Somebody else's takeover, as the row shows it.
        cluster.database.heads["conversations"]["n"].owner_id = "another"
        cluster.database.servers["another"] = cluster.database.servers[a.id]
        cluster.database.heads["conversations"]["n"].epoch += 1
        answers = await asyncio.gather(
            *(a.write("n", f"{i}") for i in range(5)), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {OwnershipLost}
        assert cluster.texts("n") == ["one"]
        assert len(a.notebooks.holdings) == 0
        assert a.notebooks.commit.waiting == 0


@virtual_time
async def test_own_acquire_that_arrives_late_costs_nothing() -> None:
    """The row is still ours, only at an epoch that nobody holds; what was buffered goes on."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.write("n", "cheap", durability=Durability.BUFFERED)
        cluster.database.heads["conversations"]["n"].epoch += 1
        assert (await a.write("n", "two")).version.seq == 3
        assert (await a.write("n", "three")).version.seq == 4
    assert cluster.texts("n") == ["one", "cheap", "two", "three"]


@virtual_time
async def test_retake_without_an_answer_is_tried_again() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        cluster.database.heads["conversations"]["n"].epoch += 1
        a.owner_link.lost_answers = 2
        assert (await a.write("n", "two")).version.seq == 2
        assert a.owner_link.lost_answers == 0
    assert cluster.texts("n") == ["one", "two"]


@virtual_time
async def test_row_that_is_free_again_with_a_new_event_is_lost_all_the_same() -> None:
    """Another server wrote and gave it up: the state here is not the newest."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        head = cluster.database.heads["conversations"]["n"]
        head.owner_id, head.seq, head.epoch = None, 2, head.epoch + 1
        [event] = cluster.database.events["events"]["n"]
        other = replace(event, version=Version(head.epoch, 2), event_id="another:0")
        cluster.database.events["events"]["n"].append(other)
        with pytest.raises(OwnershipLost):
            await a.write("n", "two")
    assert cluster.texts("n") == ["one", "one"]


@virtual_time
async def test_event_of_another_branch_in_the_same_place_is_no_base() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        cluster.database.heads["conversations"]["n"].epoch += 1
        [event] = cluster.database.events["events"]["n"]
        other = replace(event, version=Version(event.version.epoch + 1, 1))
        cluster.database.events["events"]["n"] = [other]
        with pytest.raises(OwnershipLost):
            await a.write("n", "two")


@virtual_time
async def test_foreign_event_in_the_next_place_is_never_written_over() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        ack = await a.write("n", "one")
        foreign = claim("n", ack.version.epoch, 1, "foreign", key="foreign")
        cluster.database.events["events"]["n"] += foreign.events
        with pytest.raises(OwnershipLost):
            await a.write("n", "two")
    assert cluster.texts("n") == ["one", "foreign"]


@virtual_time
async def test_batch_that_landed_after_its_loss_makes_no_stale_answer() -> None:
    """Its rows were in before the takeover; the answer came after it."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        a.log_link.lost_answers = 10**6
        unanswered = asyncio.ensure_future(a.write("n", "two"))
        a.beat_link.up = False
        await advance(9)
        assert (await b.write("n", "three")).version.seq == 3
        a.beat_link.up = True
        await advance(3)
        a.log_link.lost_answers = 0
        await advance(3)
        with pytest.raises((OutcomeUnknown, OwnershipLost)):
            await unanswered
        entry = a.store.peek("n")
        assert entry is None or entry.version.seq == 3
        assert await a.lines("n") == ("one", "two", "three")
    assert cluster.texts("n") == ["one", "two", "three"]


@virtual_time
async def test_late_loss_of_an_older_holding_leaves_the_newer_one_alone() -> None:
    """Taken again under a new id while the old batch still had no answer: it is dirty by right."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.notebooks.writebehind.flush_all()
        a.log_link.hold()
        unanswered = asyncio.ensure_future(a.write("n", "never", key="k"))
        await settle()
        await a.notebooks.holdings.deposed()
        await a.notebooks.holdings.acquire("n", create=False)
        a.notebooks.writebehind.mark(notebook("n", Version(1, 1)), 1, 10, 100)
        a.log_link.release()
        with pytest.raises(OwnershipLost):
            await unanswered
        assert len(a.notebooks.writebehind) == 1


@virtual_time
async def test_owner_past_its_deadline_acks_nothing() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        a.beat_link.hold()
        jump(5)
        with pytest.raises(OwnershipUnknown):
            await a.write("n", "two")
        with pytest.raises(OwnershipUnknown):
            await a.write("n", "cheap", durability=Durability.BUFFERED)
    assert cluster.texts("n") == ["one"]


@virtual_time
async def test_command_that_waits_past_the_deadline_is_told_that_nobody_knows_the_owner() -> None:
    async with Cluster().open("a") as [a]:
        await a.write("n", "one")
        lane, commit = a.notebooks.holdings.find("n"), a.notebooks.commit
        assert lane is not None
        answer: asyncio.Future[Ack[Notebook]] = asyncio.get_running_loop().create_future()
        commit.enqueue(lane, Pending(Write(("two",)), "two", "ada", None, answer))
        commit.turn_away(lane)
        assert isinstance(answer.exception(), OwnershipUnknown)
        assert commit.waiting == 0


@virtual_time
async def test_missing_aggregate_is_not_found_unless_it_is_created() -> None:
    async with Cluster().open("a") as [a]:
        with pytest.raises(NotFound):
            await a.notebooks.submit("n", Write(("x",)), key="k", actor="ada")


# -- buffered ------------------------------------------------------------------------------------


@virtual_time
async def test_buffered_ack_names_the_last_logged_version_and_asks_no_store() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        logged = await a.write("n", "one")
        trips = [link.trips for link in a.links]
        for i in range(50):
            ack = await a.write("n", f"cheap {i}", durability=Durability.BUFFERED)
            assert (ack.version, ack.durability) == (logged.version, Durability.BUFFERED)
        assert [link.trips for link in a.links] == trips
        assert len(await a.lines("n")) == 51
        assert cluster.texts("n") == ["one"]


@virtual_time
async def test_buffered_events_are_logged_before_the_next_logged_one() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.write("n", "cheap", durability=Durability.BUFFERED)
        assert (await a.write("n", "two")).version.seq == 3
    assert cluster.texts("n") == ["one", "cheap", "two"]


@virtual_time
async def test_buffered_events_are_logged_within_their_time() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        for i in range(30):
            await a.write("n", f"cheap {i}", durability=Durability.BUFFERED)
            await advance(0.1)
        await advance(2)
        assert len(cluster.texts("n")) == 31


@virtual_time
async def test_buffered_events_are_logged_in_time_after_the_owner_was_late_once() -> None:
    """The beat was late when they were due; nobody else took over; they must not be forgotten."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(1.9)
        a.beat_link.hold()
        await advance(2)
        await a.write("n", "cheap", durability=Durability.BUFFERED)
        await advance(4)
        assert cluster.texts("n") == ["one"]
        a.beat_link.release()
        await advance(5)
        assert cluster.texts("n") == ["one", "cheap"]


@virtual_time
async def test_buffered_command_that_changes_nothing_leaves_nothing_to_write() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(10)
        ack = await a.submit("n", Write(()), key="k", durability=Durability.BUFFERED)
        assert ack.entry.etag == f'"{ack.version.token}"'
        await advance(60)
        pressure = a.notebooks.pressure
        assert (pressure.see(), pressure.held) == (Colour.GREEN, 0)
        assert (await a.submit("n", Write(()), key="k", durability=Durability.BUFFERED)).repeated
    assert cluster.texts("n") == ["one"]


@virtual_time
async def test_repeated_buffered_key_counts_once() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.write("n", "cheap", key="k", durability=Durability.BUFFERED)
        assert (await a.write("n", "cheap", key="k", durability=Durability.BUFFERED)).repeated
        await advance(3)
        assert (await a.write("n", "cheap", key="k", durability=Durability.BUFFERED)).repeated
        await advance(3)
    assert cluster.texts("n") == ["one", "cheap"]


@virtual_time
async def test_repeated_buffered_key_that_was_forgotten_costs_nothing_else() -> None:
    """The owner has forgotten the key: the repeat is found in the log, and nobody loses for it."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "cheap", key="k")
        await a.notebooks.drain()
        await b.write("n", "one")
        await b.write("n", "precious", key="p", durability=Durability.BUFFERED)
        await b.write("n", "cheap", key="k", durability=Durability.BUFFERED)
        acks = await asyncio.gather(b.write("n", "two"), b.write("m", "x"))
        assert acks[1].version.seq == 1
        assert await b.lines("n") == ("cheap", "one", "precious", "two")
    assert cluster.texts("n") == ["cheap", "one", "precious", "two"]


@virtual_time
async def test_conditional_write_is_always_logged() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        one = (await a.write("n", "one")).version
        ack = await a.write("n", "two", if_version=one, durability=Durability.BUFFERED)
        assert ack.durability is Durability.LOGGED
        with pytest.raises(VersionConflict):
            await a.write("n", "three", if_version=one, durability=Durability.BUFFERED)


@virtual_time
async def test_repeat_of_a_buffered_key_names_the_place_where_it_was_logged() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "zero")
        await a.write("n", "cheap", durability=Durability.BUFFERED)
        _, beside = await asyncio.gather(a.write("n", "one"), a.write("n", "cheap"))
        after = await a.write("n", "cheap")
    assert cluster.texts("n") == ["zero", "cheap", "one"]
    assert [(ack.version.seq, ack.repeated) for ack in (beside, after)] == [(2, True), (2, True)]


@virtual_time
async def test_drain_logs_what_is_buffered() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.write("n", "cheap", durability=Durability.BUFFERED)
        await a.notebooks.drain()
    assert cluster.texts("n") == ["one", "cheap"]
    assert cluster.snapshot("n") is not None
    assert cluster.database.heads["conversations"]["n"].owner_id is None


@virtual_time
async def test_announcement_names_the_newest_version_of_each() -> None:
    cluster = Cluster()
    heard: list[Announcement] = []
    async with cluster.open("a") as [a]:
        publish = a.announcer.publish

        class Recorder:
            async def publish(self, changes: list[Announcement]) -> None:
                heard.extend(changes)
                await publish(changes)

        a.notebooks.commit._publisher = Recorder()  # type: ignore[assignment]  # a bystander
        acks = await asyncio.gather(*(a.write("n", f"{i}") for i in range(3)))
    assert heard[-1] == Announcement("notebook", "n", acks[-1].version)
