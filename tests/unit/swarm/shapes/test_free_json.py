"""JSON of any shape: canonical, bounded, and patched as RFC 7396 says."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from src.state.errors import Refused
from src.swarm.shapes import free_json
from src.swarm.shapes.free_json import accept, accept_value, has_nul, merge_patch, read
from tests.unit.swarm.given import raw


def test_what_is_accepted_is_canonical_and_keeps_no_view_of_what_came() -> None:
    request = b'xx{ "a" : [ 1 , 2 ] }xx'

    kept = accept(Raw(memoryview(request)[2:-2]), "value")

    assert bytes(kept) == b'{"a":[1,2]}'


@pytest.mark.parametrize("value", [None, True, 0, -1.5, 10**40, "", "é\n", [], {}, {"a": [None]}])
def test_every_json_value_is_kept_as_it_is(value: Any) -> None:
    assert read(accept(raw(value), "value")) == value


@pytest.mark.parametrize(
    "body", [b"", b"nul", b"[1,]", b'"\xff"', b'"\\ud800"', b"1e999", b'"a\\u0000b"', b"{}{}"]
)
def test_what_can_not_be_kept_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        accept(Raw(body), "value")

    assert (refused.value.code, refused.value.field) == ("invalid", "value")


@pytest.mark.parametrize("value", ["\ud800", object(), {"a": {1, 2, object}}])
def test_values_made_here_are_refused_in_the_same_way(value: Any) -> None:
    with pytest.raises(Refused):
        accept_value(value, "value")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (rb'"\u0000"', True),
        (rb'"\\\u0000"', True),
        (rb'"\\u0000"', False),
        (rb'"\\\\u0000"', False),
        (rb'"u0000"', False),
    ],
)
def test_a_nul_is_told_from_a_text_about_one(body: bytes, found: bool) -> None:
    assert has_nul(body) is found


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        # The table of RFC 7396, appendix A.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_the_standard_says(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("complaint", "root", "place"),
    [
        ("Expected `int`, got `str` - at `$.limits.credits`", "", "limits.credits"),
        ("Expected `int`, got `str` - at `$.limits.credits`", "patch", "patch.limits.credits"),
        ("Expected `str`, got `int` - at `$[1].id`", "set", "set[1].id"),
        ("Object contains unknown field `x`", "", "x"),
        ("Object missing required field `x` - at `$.a`", "", "a.x"),
        ("Input data was truncated", "", None),
    ],
)
def test_the_place_of_a_complaint_is_found(complaint: str, root: str, place: str | None) -> None:
    assert free_json.place(ValueError(complaint), root) == place


def test_many_values_side_by_side_are_not_deep() -> None:
    wide: Any = [[{}] for _ in range(200)]

    assert read(accept(raw(wide), "value")) == wide


def test_lists_and_objects_count_as_levels_alike() -> None:
    value: Any = 1
    for _ in range(33):
        value = {"a": [value]}

    with pytest.raises(Refused, match="nested"):
        accept(raw(value), "value")
