"""JSON Schema of structs: it says what the decoder enforces."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from src.api.schemas.structs import components, object_schema, patch_schema
from src.swarm.shapes.free_json import EMPTY, PatchOf, holds


class Inner(msgspec.Struct, frozen=True):
    count: Annotated[int, Meta(ge=1, le=9)]


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="outer"):
    """What it is.

    And more.
    """

    name: Annotated[str, Meta(min_length=1, max_length=5)]
    kind: Literal["a", "b"] = "a"
    inner: Inner | None = None
    many: Annotated[tuple[Inner, ...], Meta(max_length=3)] = ()
    free: Raw = EMPTY


def test_bounds_defaults_and_required_fields_are_said() -> None:
    schema = object_schema(Outer)

    assert schema["required"] == ["type", "name"]
    assert schema["additionalProperties"] is False
    assert schema["description"] == "What it is."
    assert schema["properties"]["type"] == {"type": "string", "const": "outer"}
    assert schema["properties"]["name"] == {
        "type": "string",
        "pattern": r"^[^\u0000]*$",
        "minLength": 1,
        "maxLength": 5,
    }
    assert schema["properties"]["kind"] == {"enum": ["a", "b"], "default": "a"}
    assert schema["properties"]["free"] == {"type": "object"}


def test_components_hold_all_that_a_struct_is_made_of() -> None:
    found = components([Outer])

    assert list(found) == ["Inner", "Outer", "OuterPatch"]
    assert found["Inner"]["properties"]["count"] == {"type": "integer", "minimum": 1, "maximum": 9}


def test_a_body_may_leave_fields_out() -> None:
    schema = object_schema(Outer, without=("type", "many"), optional=("name",))

    assert "required" not in schema
    assert set(schema["properties"]) == {"name", "kind", "inner", "free"}


def test_a_patch_may_name_any_field_or_put_it_back() -> None:
    schema = patch_schema(Outer)

    assert "required" not in schema
    assert schema["properties"]["kind"] == {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}


_Held = dict[Literal["a", "b"], dict[Annotated[str, Meta(max_length=3)], int]]


class Deep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=r"^[a-z]{1,3}(?![\s\S])")]
    outer: Outer | None = None
    held: Annotated[
        Raw, holds(dict[Literal["a", "b"], dict[Annotated[str, Meta(max_length=3)], int]])
    ] = EMPTY
    change: Annotated[Raw, holds(PatchOf(Inner))] = EMPTY


def test_raw_json_is_described_by_what_it_holds() -> None:
    properties = object_schema(Deep)["properties"]

    inner = {
        "type": "object",
        "propertyNames": {"type": "string", "pattern": r"^[^\u0000]*$", "maxLength": 3},
        "additionalProperties": {"type": "integer"},
    }
    assert properties["held"]["properties"] == {"a": inner, "b": inner}
    assert properties["held"]["additionalProperties"] is False
    assert properties["change"]["$ref"] == "#/components/schemas/InnerPatch"


def test_the_end_of_a_text_is_written_as_json_schema_writes_it() -> None:
    assert object_schema(Deep)["properties"]["name"]["pattern"] == "^[a-z]{1,3}$"


def test_a_patch_takes_null_for_what_has_a_default_at_every_depth() -> None:
    properties = patch_schema(Deep)["properties"]

    assert "anyOf" not in properties["name"]
    held = properties["held"]["anyOf"][0]["properties"]["a"]["anyOf"][0]
    assert held["additionalProperties"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def test_patch_of_an_object_of_any_fields_is_an_object_or_null() -> None:
    assert patch_schema(Outer)["properties"]["free"] == {
        "anyOf": [{"type": "object"}, {"type": "null"}]
    }
