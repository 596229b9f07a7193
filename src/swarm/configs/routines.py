"""Routines: steps that a run carries out, as data.

What a step names is looked up when it runs: a bot, a tool, a variable. Only a sub-routine has to be
there when the routine is saved, and no routine names itself: what repeats is a loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import replace

from src.state.errors import Refused
from src.swarm.configs.decoding import SCHEMA, Part, Schema, decoded
from src.swarm.shapes import free_json, topics
from src.swarm.shapes.bounds import Id, Label, LongText, Name, Note, Topic
from src.swarm.shapes.free_json import EMPTY, NULL
from src.swarm.shapes.limits import Limits

STEPS = 500
"""In a whole routine, at every depth."""
DEPTH = 16

Variable = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}(?![\s\S])")]
"""1 to 64 letters, digits and underscores, no digit first."""
Steps = Annotated[tuple["Step", ...], Meta(max_length=100)]


class _Step(Part, frozen=True, gc=False, tag_field="type", omit_defaults=True):
    """A step of a routine; texts may name variables in braces."""


class PromptStep(_Step, frozen=True, gc=False, tag="prompt"):
    """Let a bot answer a text; without `bot` the conversation's rules choose one."""

    prompt: Annotated[LongText, Meta(min_length=1)]
    bot: Id | None = None
    save_as: Variable | None = None
    """The variable that gets the answer."""
    name: Label = ""


class ToolStep(_Step, frozen=True, gc=False, tag="tool"):
    """Call a tool."""

    tool: Name
    arguments: Raw = EMPTY
    save_as: Variable | None = None
    name: Label = ""


class SetStep(_Step, frozen=True, gc=False, tag="set"):
    """Give a variable a value."""

    variable: Variable
    value: Raw
    name: Label = ""


class Condition(Part, frozen=True, gc=False, omit_defaults=True):
    """A question about one variable; `value` is what it is compared with."""

    variable: Variable
    is_: Literal[
        "equal", "not_equal", "less", "at_most", "more", "at_least", "contains", "set", "empty"
    ] = msgspec.field(default="set", name="is")
    value: Raw = NULL


class BranchStep(_Step, frozen=True, gc=False, tag="branch"):
    """Go one way or the other."""

    when: Condition
    then: Steps = ()
    otherwise: Steps = msgspec.field(default=(), name="else")
    name: Label = ""


class LoopStep(_Step, frozen=True, gc=False, tag="loop"):
    """Repeat steps: for each item of a list, or while a condition holds; one of the two."""

    steps: Steps
    over: Variable | None = None
    """The variable that holds the list."""
    item: Variable = "item"
    """The variable that holds the item in each round."""
    while_: Condition | None = msgspec.field(default=None, name="while")
    max_rounds: Annotated[int, Meta(ge=1, le=10_000)] = 100
    name: Label = ""


class ParallelStep(_Step, frozen=True, gc=False, tag="parallel"):
    """Carry out several rows of steps at once, and go on when all are done."""

    branches: Annotated[tuple[Steps, ...], Meta(min_length=1, max_length=20)]
    name: Label = ""


class WaitStep(_Step, frozen=True, gc=False, tag="wait"):
    """Wait so long, or until something is said on a topic; with both, for whatever comes first."""

    seconds: Annotated[float, Meta(ge=0, le=604_800)] | None = None
    topic: Topic | None = None
    """A topic pattern."""
    name: Label = ""


class RoutineStep(_Step, frozen=True, gc=False, tag="routine"):
    """Run another routine, and go on when it is done."""

    routine: Id
    inputs: Raw = EMPTY
    """{input of that routine: value}"""
    save_as: Variable | None = None
    name: Label = ""


Step = (
    PromptStep | ToolStep | SetStep | BranchStep | LoopStep | ParallelStep | WaitStep | RoutineStep
)


class RoutineConfig(Part, frozen=True, gc=False):
    """What a run does, step by step."""

    name: Name
    steps: Annotated[tuple[Step, ...], Meta(min_length=1, max_length=100)]
    schema: Schema = SCHEMA
    description: Note = ""
    inputs: Raw = EMPTY
    """A JSON Schema of the object that a run is started with."""
    outputs: Raw = EMPTY
    """A JSON Schema of the object that it ends with."""
    limits: Limits = Limits()
    """What runs of it may use; what is not set they inherit from their conversation."""


_routines = msgspec.json.Decoder(RoutineConfig)


def decode_routine(id: str, body: bytes) -> RoutineConfig:
    """Return the routine with this id in these bytes, canonical.

    Raises:
        InvalidCommand, Refused: out of bounds or of a wrong type; names the place of the step.
    """
    routine = decoded(_routines, body)
    count = sum(1 for _ in walk(routine.steps))
    if count > STEPS:
        detail = f"the routine has {count} steps, at most {STEPS} fit; make sub-routines of some"
        raise Refused("too_large", detail, field="steps")
    for place, named in sub_routines(routine):
        if named == id:
            detail = f"{place}: a routine does not run itself; repeat steps with a loop"
            raise Refused("incoherent", detail, field=place)
    return replace(
        routine,
        steps=_accepted(routine.steps, "steps"),
        inputs=_object_schema(routine.inputs, "inputs"),
        outputs=_object_schema(routine.outputs, "outputs"),
    )


def walk(
    steps: tuple[Step, ...], field: str = "steps", depth: int = 1
) -> Iterator[tuple[str, Step]]:
    """Give every step with its place, such as `steps[2].then[0]`, outer ones first.

    Raises:
        Refused: nested deeper than `DEPTH`.
    """
    if depth > DEPTH:
        detail = f"{field} is nested deeper than {DEPTH} levels; make a sub-routine of it"
        raise Refused("too_large", detail, field=field)
    for index, step in enumerate(steps):
        place = f"{field}[{index}]"
        yield place, step
        for name, inner in _inside(step):
            yield from walk(inner, f"{place}.{name}", depth + 1)


def sub_routines(routine: RoutineConfig) -> Iterator[tuple[str, str]]:
    """Give the place and the id of each routine that this one runs."""
    for place, step in walk(routine.steps):
        if isinstance(step, RoutineStep):
            yield f"{place}.routine", step.routine


def _inside(step: Step) -> Iterator[tuple[str, tuple[Step, ...]]]:
    match step:
        case BranchStep(then=then, otherwise=otherwise):
            yield "then", then
            yield "else", otherwise
        case LoopStep(steps=steps):
            yield "steps", steps
        case ParallelStep(branches=branches):
            for index, branch in enumerate(branches):
                yield f"branches[{index}]", branch
        case _:
            pass


def _accepted(steps: tuple[Step, ...], field: str) -> tuple[Step, ...]:
    return tuple(_accepted_step(step, f"{field}[{index}]") for index, step in enumerate(steps))


def _accepted_step(step: Step, place: str) -> Step:
    """Return a step with its values made canonical, and those inside it."""
    match step:
        case ToolStep(arguments=given):
            return replace(step, arguments=_map(given, f"{place}.arguments"))
        case SetStep(value=value):
            return replace(step, value=free_json.accept(value, f"{place}.value"))
        case BranchStep(when=when, then=then, otherwise=otherwise):
            return replace(
                step,
                when=_condition(when, f"{place}.when"),
                then=_accepted(then, f"{place}.then"),
                otherwise=_accepted(otherwise, f"{place}.else"),
            )
        case LoopStep(steps=steps, over=over, while_=condition):
            if (over is None) == (condition is None):
                raise Refused("incoherent", f"{place}: give either `over` or `while`", field=place)
            if condition is not None:
                condition = _condition(condition, f"{place}.while")
            return replace(step, steps=_accepted(steps, f"{place}.steps"), while_=condition)
        case ParallelStep(branches=branches):
            rows = enumerate(branches)
            inner = tuple(_accepted(row, f"{place}.branches[{index}]") for index, row in rows)
            return replace(step, branches=inner)
        case WaitStep(seconds=seconds, topic=topic):
            if seconds is None and topic is None:
                raise Refused(
                    "incoherent", f"{place}: give `seconds`, `topic` or both", field=place
                )
            if topic is not None and not topics.is_pattern(topic):
                detail = f"{topic!r} is no topic pattern; write levels parted by /, + or a last #"
                raise Refused("invalid", detail, field=f"{place}.topic")
            return step
        case RoutineStep(inputs=inputs):
            return replace(step, inputs=_map(inputs, f"{place}.inputs"))
        case PromptStep():
            return step


def _condition(condition: Condition, place: str) -> Condition:
    return replace(condition, value=free_json.accept(condition.value, f"{place}.value"))


def _map(raw: Raw, place: str) -> Raw:
    return free_json.accept_map(raw, dict[str, Any], place)


def _object_schema(raw: Raw, field: str) -> Raw:
    schema = _map(raw, field)
    kind = free_json.read(schema).get("type", "object")
    if kind != "object":
        detail = f"{field} is a JSON Schema of type {kind!r}; write one of an object"
        raise Refused("incoherent", detail, field=f"{field}.type")
    return schema
