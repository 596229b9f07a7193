"""The report adds up, says what is missing, and calls nothing proven that is not."""

from __future__ import annotations

from tests.prove.act import Act, Place, Result
from tests.prove.report import add_up, page, required_table, verdict
from tests.prove.required import REQUIRED, missing
from tests.prove.shelf import Outcome, Record
from tests.support.history import Broken

ENOUGH = {one.count: one.at_least for one in REQUIRED}


async def _nothing(place: Place) -> Result:
    return Result()


def act(name: str) -> Act:
    return Act(name, "any", _nothing)


def record(name: str, result: Result, outcome: Outcome = "kept", error: str = "") -> Record:
    return Record(name, "any", "tree", outcome, result, error, 60.0, {"commit": "abc"})


def test_counts_and_steps_are_summed_and_figures_joined() -> None:
    total = add_up(
        [
            record("a", Result({"seeds": 2}, {"x_s": [1.0]}, {"queued": 1}, in_flight_min=70)),
            record("b", Result({"seeds": 3}, {"x_s": [2.0, 3.0]}, {"queued": 4}, in_flight_min=60)),
        ]
    )
    assert total.counts["seeds"] == 5
    assert total.figures == {"x_s": [1.0, 2.0, 3.0]}
    assert total.steps == {"queued": 5}
    assert total.in_flight_min == 60
    assert total.took_s == 120.0


def test_one_less_than_required_is_missing() -> None:
    assert missing(ENOUGH) == []
    assert missing({**ENOUGH, "kill_owner": 299}) == ["kill -9 of the owner: 299 of 300"]


def test_a_page_of_all_that_is_required_says_that_it_holds() -> None:
    text = page([act("a")], [record("a", Result(ENOUGH, in_flight_min=50))])
    assert "**It holds:**" in text
    assert "partial" not in text


def test_a_page_of_less_says_that_it_is_partial_and_what_is_missing() -> None:
    text = page([act("a"), act("b")], [record("a", Result({**ENOUGH, "seeds": 9}))])
    assert "**This run is partial.**" in text
    assert "- seeds of the simulation: 9 of 10,000" in text
    assert "- acts not played: any (1)" in text
    assert "It holds" not in text


def test_too_few_turns_in_flight_at_one_fault_are_missing() -> None:
    assert verdict(add_up([record("a", Result(ENOUGH, in_flight_min=49))]), {}) == [
        "**This run is partial.** Still missing:",
        "- turns in flight at a fault: 49 of 50",
    ]


def test_one_violation_is_enough_for_the_whole_not_to_hold() -> None:
    broken = record("b", Result(violations=["room: a turn is lost"]), "broken")
    failed = record("c", Result(), "failed", "Traceback\nOSError: no disk")
    text = page([act("a")], [record("a", Result(ENOUGH)), broken, failed])
    assert "**It does not hold: 2 acts failed.**\n- b: room: a turn is lost\n- c: OSError" in text
    assert "It holds" not in text


def test_results_from_several_states_of_the_sources_are_owned_up_to() -> None:
    other = Record("b", "any", "other tree", "kept", Result(), versions={"commit": "def"})
    text = page([act("a"), act("b")], [record("a", Result(ENOUGH)), other])
    assert "played on several states of the sources, abc, def" in text
    assert "several states" not in page([act("a")], [record("a", Result(ENOUGH))])


def test_every_forbidden_thing_is_counted_by_its_name() -> None:
    found = [f"room-{n}: {Broken.FORK}: at 1.{n}" for n in (1, 2)]
    rows = required_table(add_up([record("a", Result(violations=[*found, "disk full"]), "broken")]))
    assert (Broken.FORK, "2", "0", "**no**") in rows
    assert (Broken.LOST, "0", "0", "yes") in rows
    assert ("any other promise broken", "1", "0", "**no**") in rows


def test_figures_are_shown_with_their_quantiles() -> None:
    values = [float(n) for n in range(1, 101)]
    text = page([act("a")], [record("a", Result(figures={"takeover_s": values}))])
    assert "| takeover_s | 100 | 50.5 | 99 | 100 |" in text


def test_what_went_wrong_before_an_act_was_kept_is_on_the_page() -> None:
    again = Record("a", "any", "tree", "kept", Result(), earlier=["OSError: no disk"])
    assert "before: OSError: no disk" in page([act("a")], [again])


def test_answers_of_an_operation_stand_in_a_row_by_role() -> None:
    a = Result(answers={"GET /bots": {"admin 200": 4, "viewer 403": 1}})
    b = Result(answers={"GET /bots": {"admin 200": 996, "admin 422": 2}, "PUT /bots": {}})
    text = page([act("a"), act("b")], [record("a", a), record("b", b)])
    assert "| operation | admin | viewer |" in text
    assert "| GET /bots | 200: 1,000, 422: 2 | 403: 1 |" in text
    assert "| PUT /bots |  |  |" in text
