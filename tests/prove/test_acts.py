"""The acts together owe what the proof requires."""

from __future__ import annotations

from collections import Counter

from tests.prove.act import collect
from tests.prove.acts.faults_of_processes import PLANS, TURNS
from tests.prove.required import REQUIRED


def test_all_acts_are_found_under_names_of_their_own() -> None:
    names = [act.name for act in collect()]
    assert {"owner-1", "storm-1"} <= set(names)
    assert len(set(names)) == len(names)


def test_the_faults_of_processes_are_as_many_as_required_and_so_are_their_turns() -> None:
    planned: Counter[str] = Counter()
    for plan in PLANS:
        planned["acked_turns"] += plan.acts * TURNS
        for _ in range(plan.acts):
            planned.update(plan.faults)
    less = {
        one.count: planned[one.count]
        for one in REQUIRED
        if one.count != "seeds" and planned[one.count] < one.at_least
    }
    assert less == {}
