"""What the document says of bodies: where anything goes, and that nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from src.api.app import create_app
from src.api.settings import ApiSettings

Schema = dict[str, Any]

VALUES = "what people and bots keep there: any JSON, bounded in size and depth"
SCHEMAS = "a JSON Schema, whose own fields are not ours"
ARGUMENTS = "what a tool or a routine takes, as its own schema says"
RESULTS = "what a tool gave back, as its own schema says"
OPTIONS = "what a provider of models or voices takes, which differs by provider"
MEASURED = "what a provider or a room measured, kept as it came"
EVENTS = "the fields of an event, by its type"
HEARD = "LiveKit's own message, signed as it is; it gains fields with LiveKit"
COMPARED = "any value of a config, before and after"
FREE = {
    "Assignment.value": VALUES,
    "BlackboardItem.value": VALUES,
    "BotTool.input_schema": SCHEMAS,
    "Condition.value": VALUES,
    "Difference.after": COMPARED,
    "Difference.before": COMPARED,
    "EditBlackboard.deep_merge.value": VALUES,
    "EditBlackboard.merge.value": VALUES,
    "EffectiveValue.value": COMPARED,
    "EventItem.data": EVENTS,
    "FinishToolCall.result": RESULTS,
    "LlmConfig.options": OPTIONS,
    "Message.metrics": MEASURED,
    "NewParticipant.tracks": MEASURED,
    "Participant.tracks": MEASURED,
    "PendingItem.data": EVENTS,
    "PendingToolCall.arguments": ARGUMENTS,
    "PendingToolCall.result": RESULTS,
    "PostMessage.metrics": MEASURED,
    "Profile.learning_progress": VALUES,
    "Profile.preferences": VALUES,
    "ProviderNames.options.llm": OPTIONS,
    "ProviderNames.options.realtime": OPTIONS,
    "ProviderNames.options.stt": OPTIONS,
    "ProviderNames.options.tts": OPTIONS,
    "RequestToolCall.arguments": ARGUMENTS,
    "Routine.inputs": SCHEMAS,
    "Routine.outputs": SCHEMAS,
    "RoutineStep.inputs": ARGUMENTS,
    "SetStep.value": VALUES,
    "Tool.input_schema": SCHEMAS,
    "Tool.output_schema": SCHEMAS,
    "ToolStep.arguments": ARGUMENTS,
    "ToolUse.arguments": ARGUMENTS,
    "ToolUse.result": RESULTS,
    "UpdateParticipant.tracks": MEASURED,
    "post /api/v1/webhooks/livekit": HEARD,
}
"""Fields that may hold any JSON, or an object of any fields, and why. A new one is looked at by
somebody before it stands here."""
BODIES = {
    "post /api/v1/conversations/{conversation_id}/messages": "PostMessage",
    "post /api/v1/routines": "Routine",
    "put /api/v1/routines/{config_id}": "Routine",
    "patch /api/v1/routines/{config_id}": "Routine",
    "patch /api/v1/profile": "Profile",
}
"""Bodies that are written out in their operation, by the struct whose fields they have."""


@pytest.fixture(scope="module")
def document() -> Schema:
    secret = SecretStr("a secret of tests, at least thirty-two characters")
    return create_app(ApiSettings(jwt_secret=secret)).openapi()


def bodies_of(document: Schema) -> Iterator[tuple[str, Schema]]:
    """Give the schema of each request's body."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                yield f"{method} {path}", content["schema"]


def answers_of(document: Schema) -> Iterator[tuple[str, Schema]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                for content in answer.get("content", {}).values():
                    yield f"{method} {path} {status}", content["schema"]


def places(name: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Give a schema and all inside it, but for what it refers to, each with the field it is in."""
    yield name, schema
    for field, inner in schema.get("properties", {}).items():
        yield from places(f"{name}.{field}", inner)
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from places(name, choice)
    for inside in ("items", "additionalProperties", "contentSchema"):
        if isinstance(schema.get(inside), dict):
            yield from places(name, schema[inside])


def is_free(schema: Schema) -> bool:
    """Say whether any JSON is right, or any object."""
    told = schema.keys() - {"description", "default", "title", "example", "propertyNames"}
    if told <= {"additionalProperties", "type"}:
        kind, rest = schema.get("type", "object"), schema.get("additionalProperties", True)
        return bool(kind == "object" and rest in (True, {}))
    return False


def test_only_reviewed_fields_take_any_object(document: Schema) -> None:
    schemas = [
        *document["components"]["schemas"].items(),
        *((BODIES.get(place, place), schema) for place, schema in bodies_of(document)),
        *answers_of(document),
    ]
    found = {
        field.replace("Patch.", ".")
        for name, schema in schemas
        for field, inner in places(name, schema)
        if is_free(inner)
    }
    assert found == FREE.keys()


def test_body_of_a_request_says_that_it_takes_no_unknown_fields(document: Schema) -> None:
    components = document["components"]["schemas"]
    waiting, seen, open_ones = [*bodies_of(document)], set(), []
    while waiting:
        name, schema = waiting.pop()
        for field, inner in places(name, schema):
            reference = inner.get("$ref", "").rpartition("/")[2]
            if reference and reference not in seen:
                seen.add(reference)
                waiting.append((reference, components[reference]))
            closed = {"$ref", "additionalProperties"} & inner.keys()
            if inner.get("properties") and not closed:
                open_ones.append(field)
    assert open_ones == []


@pytest.mark.parametrize(
    ("schema", "free"),
    [
        ({}, True),
        ({"type": "object"}, True),
        ({"type": "object", "additionalProperties": {}, "propertyNames": {"type": "string"}}, True),
        ({"description": "Anything"}, True),
        ({"type": "object", "additionalProperties": False}, False),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, False),
        ({"type": "object", "properties": {"a": {}}}, False),
        ({"type": "string"}, False),
        ({"$ref": "#/components/schemas/A"}, False),
    ],
)
def test_what_takes_anything_is_told_from_what_does_not(schema: Schema, free: bool) -> None:
    assert is_free(schema) is free
