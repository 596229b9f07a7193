"""The settings of one conversation: what a client may patch."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from src.swarm.shapes import bounds
from src.swarm.shapes.bounds import Count, Id, Label, LongText, Name, Note
from src.swarm.shapes.free_json import EMPTY, Object, holds
from src.swarm.shapes.limits import Limits


class _Layer(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What one layer sets; a field at its default is inherited: see `inheritance.py`."""


class LlmConfig(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The language model that bots of this conversation use unless their own config names one."""

    model: Label = ""
    fallback: Annotated[tuple[Name, ...], Meta(max_length=10)] = ()
    options: Object = EMPTY


class Policy(_Layer, frozen=True, gc=False):
    """Who may see and write: `open` to all, `restricted` and `private` to members and `acl`."""

    visibility: Literal["open", "restricted", "private"] | None = None
    acl: Annotated[tuple[Id, ...], Meta(max_length=bounds.PARTICIPANTS)] | None = None
    recording: bool | None = None
    """Whether the sound of its rooms is kept as files, while it is so."""


class Scheduling(_Layer, frozen=True, gc=False):
    """When tool calls run, and which of them a person has to approve first."""

    default_delay_ms: Annotated[int, Meta(ge=0, le=86_400_000)] | None = None
    tool_delays: Annotated[Raw, holds(bounds.Delays)] = EMPTY
    """{tool: milliseconds}"""
    requires_approval: (
        Literal["none", "all"] | Annotated[tuple[Name, ...], Meta(max_length=bounds.TOOLS)] | None
    ) = None
    approval_timeout_s: Annotated[float, Meta(ge=1, le=86_400)] | None = None
    auto_reject_on_timeout: bool | None = None


class ResponderRules(_Layer, frozen=True, gc=False):
    """Who answers when nobody was named: see `responder.py` for the order of the rules."""

    policy: Literal["default", "round_robin", "keywords", "moderator"] | None = None
    moderator: Id | None = None
    default_bot: Id | None = None
    keywords: Annotated[Raw, holds(bounds.Keywords)] = EMPTY
    """{bot: [words]}"""
    loop_cap: Annotated[int, Meta(ge=1, le=bounds.WINDOW_MESSAGES)] | None = None
    """How many turns in a row bots may take before a person has to speak."""


class Resource(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Something outside that the conversation refers to."""

    id: Id
    kind: Literal["note", "file", "url", "vector", "image", "other"] = "other"
    name: Label = ""
    uri: Note = ""


class Parent(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The conversation that this one was branched from, and the last event they share."""

    id: Id
    seq: Count


class Config(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The settings of one conversation."""

    goal: LongText = ""
    llm_config: LlmConfig = msgspec.field(default=LlmConfig(), name="model_config")
    swarm_leader: Id | None = None
    subtask_leaders: Annotated[Raw, holds(bounds.BotBySubtask)] = EMPTY
    """{subtask: bot}"""
    team_id: Id | None = None
    event_subscriptions: Annotated[Raw, holds(bounds.BotsByTopic)] = EMPTY
    """{topic pattern: [bots]}"""
    policy: Policy = Policy()
    limits: Limits = Limits()
    scheduling: Scheduling = Scheduling()
    responder: ResponderRules = ResponderRules()
    secrets: Annotated[Raw, holds(bounds.Secrets)] = EMPTY
    """{pattern of a name: sensitivity}; never a secret itself."""
    resources: Annotated[tuple[Resource, ...], Meta(max_length=200)] = ()
    parent: Parent | None = None


MAPS: tuple[tuple[str, str, object], ...] = (
    ("", "subtask_leaders", bounds.BotBySubtask),
    ("", "event_subscriptions", bounds.BotsByTopic),
    ("", "secrets", bounds.Secrets),
    ("scheduling", "tool_delays", bounds.Delays),
    ("responder", "keywords", bounds.Keywords),
    ("llm_config", "options", dict[str, object]),
)
"""(part of the config, field, type) of each field whose keys are data."""
