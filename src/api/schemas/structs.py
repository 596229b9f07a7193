"""JSON Schema of msgspec structs, so that OpenAPI says what the decoders enforce.

msgspec's own generator stops at defaults that are raw JSON, of which the states are full.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import singledispatch
from typing import Any

import msgspec
from msgspec import inspect

from src.swarm.shapes.free_json import EMPTY, PatchOf

Schema = dict[str, Any]

_STORABLE = r"^[^\u0000]*$"
"""Every text but those with U+0000."""
_REF = "#/components/schemas/{}"
_PATCH = "{}Patch"
_END = r"(?![\s\S])"
"""How the decoders' patterns say what `$` says in JSON Schema: the end, not even a newline."""


def ref(kind: type) -> Schema:
    """Return a reference to the component of a struct."""
    return {"$ref": _REF.format(kind.__name__)}


def components(kinds: Iterable[type]) -> dict[str, Schema]:
    """Return the schemas of these structs and of all that they are made of, by name.

    Each struct that takes no unknown fields has one more, for merge patches: `<name>Patch`.
    """
    found: dict[str, Schema] = {}
    owner: dict[str, type] = {}
    waiting = [inspect.type_info(kind) for kind in kinds]
    while waiting:
        info = waiting.pop()
        for struct in _structs(info):
            name = struct.cls.__name__
            assert owner.setdefault(name, struct.cls) is struct.cls, f"two structs named {name}"
            if name not in found:
                found[name] = object_schema(struct.cls)
                waiting.extend(field.type for field in struct.fields)
                if struct.forbid_unknown_fields:
                    found[_PATCH.format(name)] = patch_schema(struct.cls)
    return dict(sorted(found.items()))


def object_schema(
    kind: type, *, without: Collection[str] = (), optional: Collection[str] = ()
) -> Schema:
    """Return the schema of a struct, some fields left out or made optional."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    properties: dict[str, Schema] = {}
    required = []
    if info.tag_field is not None and info.tag_field not in without:
        properties[info.tag_field] = {"type": "string", "const": info.tag}
        required.append(info.tag_field)
    for field in info.fields:
        if field.encode_name in without:
            continue
        properties[field.encode_name] = _field(field)
        if field.required and field.encode_name not in optional:
            required.append(field.encode_name)
    schema: Schema = {"type": "object", "properties": properties}
    if kind.__doc__:
        schema["description"] = kind.__doc__.strip().split("\n\n")[0].replace("\n", " ")
    if required:
        schema["required"] = required
    if info.forbid_unknown_fields or not properties:
        schema["additionalProperties"] = False
    return schema


def patch_schema(kind: type) -> Schema:
    """Return the schema of a merge patch (RFC 7396): any field of the struct.

    Null puts a field with a default back to it. What may be null anyway is replaced as a whole.
    """
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    properties = {
        field.encode_name: _or_null({"type": "object"})
        if field.default is EMPTY and not _schema(field.type)
        else (_patched if field.required else _patched_or_null)(field.type)
        for field in info.fields
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _patched(info: inspect.Type) -> Schema:
    if isinstance(info, inspect.StructType):
        return {"$ref": _REF.format(_PATCH.format(info.cls.__name__))}
    if isinstance(info, inspect.Metadata) and (held := _held(info)) is not None:
        return _patched(held)
    if isinstance(info, inspect.DictType):
        return _map(info, _patched_or_null(info.value_type))
    return _schema(info)


def _patched_or_null(info: inspect.Type) -> Schema:
    return _or_null(_patched(info))


def _or_null(schema: Schema) -> Schema:
    if not schema or {"type": "null"} in schema.get("anyOf", ()):
        return schema
    return {"anyOf": [*(schema.get("anyOf") or [schema]), {"type": "null"}]}


def _field(field: inspect.Field) -> Schema:
    schema = dict(_schema(field.type))
    if field.default is EMPTY:
        schema["type"] = "object"
    elif field.default not in (msgspec.NODEFAULT, msgspec.UNSET) and "$ref" not in schema:
        schema["default"] = msgspec.json.decode(msgspec.json.encode(field.default))
    return schema


def _structs(info: inspect.Type) -> Iterable[inspect.StructType]:
    if isinstance(info, inspect.StructType):
        yield info
    elif isinstance(info, inspect.UnionType):
        for one in info.types:
            yield from _structs(one)
    elif isinstance(info, inspect.VarTupleType | inspect.ListType):
        yield from _structs(info.item_type)
    elif isinstance(info, inspect.DictType):
        yield from _structs(info.value_type)
    elif isinstance(info, inspect.Metadata):
        yield from _structs(_held(info) or info.type)


def _held(info: inspect.Metadata) -> inspect.Type | None:
    """Return what a field of raw JSON holds, as `free_json.holds` says it."""
    kind = (info.extra or {}).get("holds")
    return None if kind is None or isinstance(kind, PatchOf) else inspect.type_info(kind)


@singledispatch
def _schema(info: inspect.Type) -> Schema:
    """Any JSON, for what is kept as raw bytes."""
    return {}


@_schema.register
def _(info: inspect.StructType) -> Schema:
    return ref(info.cls)


@_schema.register
def _(info: inspect.UnionType) -> Schema:
    return {"anyOf": [_schema(one) for one in info.types]}


@_schema.register
def _(info: inspect.LiteralType) -> Schema:
    return {"enum": list(info.values)}


@_schema.register
def _(info: inspect.EnumType) -> Schema:
    return {"enum": [one.value for one in info.cls]}


@_schema.register
def _(info: inspect.NoneType) -> Schema:
    return {"type": "null"}


@_schema.register
def _(info: inspect.BoolType) -> Schema:
    return {"type": "boolean"}


@_schema.register
def _(info: inspect.IntType) -> Schema:
    return _bounded({"type": "integer"}, minimum=info.ge, maximum=info.le)


@_schema.register
def _(info: inspect.FloatType) -> Schema:
    return _bounded({"type": "number"}, minimum=info.ge, maximum=info.le)


@_schema.register
def _(info: inspect.StrType) -> Schema:
    schema: Schema = {"type": "string", "pattern": (info.pattern or _STORABLE).replace(_END, "$")}
    return _bounded(schema, minLength=info.min_length, maxLength=info.max_length)


@_schema.register
def _(info: inspect.DateTimeType) -> Schema:
    return {"type": "string", "format": "date-time"}


@_schema.register
def _(info: inspect.VarTupleType) -> Schema:
    schema = {"type": "array", "items": _schema(info.item_type)}
    return _bounded(schema, minItems=info.min_length, maxItems=info.max_length)


@_schema.register
def _(info: inspect.DictType) -> Schema:
    return _map(info, _schema(info.value_type))


@_schema.register
def _(info: inspect.Metadata) -> Schema:
    kind = (info.extra or {}).get("holds")
    if isinstance(kind, PatchOf):
        return {"$ref": _REF.format(_PATCH.format(kind.kind.__name__))}
    return _schema(_held(info) or info.type) | (info.extra_json_schema or {})


def _map(info: inspect.DictType, value: Schema) -> Schema:
    """Describe an object whose keys are data; each key is a text that can be stored."""
    keys = info.key_type
    if isinstance(keys, inspect.LiteralType):
        properties = {str(name): value for name in keys.values}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    schema = {"type": "object", "propertyNames": _schema(keys), "additionalProperties": value}
    return _bounded(schema, minProperties=info.min_length, maxProperties=info.max_length)


def _bounded(schema: Schema, **bounds: float | str | None) -> Schema:
    schema.update({name: bound for name, bound in bounds.items() if bound is not None})
    return schema
