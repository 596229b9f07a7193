"""What differs between two versions of a config, place by place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.swarm.configs.differences import Difference, differences

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, (Difference("b", 2, 3),)),
        ({"a": 1}, {"b": 1}, (Difference("b", after=1), Difference("a", before=1))),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, (Difference("a.b[1].c", 2, 3),)),
        ({"a": [1, 2]}, {"a": [1]}, (Difference("a[1]", before=2),)),
        ({"a": []}, {"a": {}}, (Difference("a", [], {}),)),
        ({"a": 1}, {"a": True}, (Difference("a", 1, True),)),
        ({"a": None}, {}, (Difference("a", before=None),)),
    ],
)
def test_each_place_that_differs_is_named_with_both_sides(
    before: Any, after: Any, expected: tuple[Difference, ...]
) -> None:
    assert tuple(differences(before, after)) == expected


@given(st.dictionaries(st.text("ab"), JSON), st.dictionaries(st.text("ab"), JSON))
def test_there_is_a_difference_exactly_when_the_two_are_not_the_same(
    before: Any, after: Any
) -> None:
    assert not list(differences(before, before))
    assert bool(list(differences(before, after))) == (repr_of(before) != repr_of(after))


def repr_of(value: Any) -> Any:
    """A value in which 1 and true are two things, and the order of fields is none."""
    if isinstance(value, dict):
        return {name: repr_of(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [repr_of(inner) for inner in value]
    return (type(value), value)
