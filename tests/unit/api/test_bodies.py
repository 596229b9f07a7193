"""Bodies: what is JSON, what can be stored, and which field is named when it is not."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.api.bodies import command, read_object
from src.state.errors import Refused
from src.swarm.shapes.commands import PostMessage, Speaker


def refusal(body: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        read_object(body)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nope", b"\xff\xfe", b'{"a":NaN}', b'{"a":1e999}', b"[" * 100_000, b"{}{}"],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert refusal(body).field == "body"


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b"7"])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    assert "not a JSON object" in refusal(body).detail


@pytest.mark.parametrize(("levels", "allowed"), [(100, True), (101, False), (900, False)])
def test_nesting_is_bounded(levels: int, allowed: bool) -> None:
    body = b'{"a":' * levels + b"1" + b"}" * levels

    if allowed:
        assert read_object(body)
    else:
        assert refusal(body).code == "too_large"


def test_many_siblings_are_no_nesting() -> None:
    assert read_object(b'{"a":[' + b",".join([b"[{}]"] * 500) + b"]}")


@pytest.mark.parametrize("bad", ["\\u0000", "a\\u0000b", "\\ud800", "\\udc00x"])
@pytest.mark.parametrize(
    ("template", "field"),
    [
        ('{"text": "%s"}', "text"),
        ('{"author": {"name": "%s"}}', "author.name"),
        ('{"tools": [{"name": "a"}, {"name": "%s"}]}', "tools[1].name"),
    ],
)
def test_text_that_cannot_be_stored_is_refused_by_name(bad: str, template: str, field: str) -> None:
    assert refusal((template % bad).encode()).field == field


def test_a_written_out_backslash_u0000_is_ordinary_text() -> None:
    assert read_object(rb'{"text": "\\u0000"}') == {"text": "\\u0000"}


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_refusal(body: bytes) -> None:
    with suppress(Refused):
        assert isinstance(read_object(body), dict)


@given(st.dictionaries(st.text(), st.recursive(st.text() | st.integers(-9, 9), st.lists)))
def test_what_is_let_through_can_be_stored(value: dict[str, object]) -> None:
    try:
        read = read_object(json.dumps(value).encode())
    except Refused:
        assert "\\u0000" in json.dumps(value)
    else:
        json.dumps(read, ensure_ascii=False).encode()


def test_a_body_is_a_command_without_its_type() -> None:
    asked = command("post_message", {"author": {"kind": "person", "id": "zoe"}, "text": "hi"})

    assert asked == PostMessage(Speaker("person", "zoe"), "hi")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"author": {"kind": "person", "id": "zoe"}, "text": 7}, "text"),
        ({"author": {"kind": "person", "id": "zoe"}}, "text"),
        ({"author": {"kind": "alien", "id": "zoe"}, "text": "hi"}, "author.kind"),
        ({"author": {"kind": "person", "id": "a b"}, "text": "hi"}, "author.id"),
        ({"author": {"kind": "person", "id": "zoe"}, "text": "hi", "extra": 1}, "extra"),
        ({"author": {"kind": "person", "id": "zoe"}, "text": "x" * 32_769}, "text"),
        ({"type": "delete"}, "type"),
    ],
)
def test_a_wrong_field_is_named(body: dict[str, object], field: str) -> None:
    with pytest.raises(Refused) as caught:
        command("post_message", body)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("written", "taken"),
    [("1.0", 1), ("-2.00", -2), ("1e3", 1000), ("1.5", 1.5), ("1e300", 1e300), ("1.05", 1.05)],
)
def test_a_whole_number_is_one_however_it_is_written(written: str, taken: float) -> None:
    found = read_object(b'{"a": [{"b": %s}]}' % written.encode())["a"][0]["b"]

    assert (found, type(found)) == (taken, type(taken))
