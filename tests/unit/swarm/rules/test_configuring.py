"""Merge patches on a conversation's config, and its maps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from src.state.errors import Refused
from src.swarm.shapes.commands import Create, PatchConfig, SetTools
from src.swarm.shapes.config import Config, LlmConfig, ResponderRules, Scheduling
from src.swarm.shapes.events import ConfigChanged
from src.swarm.shapes.limits import Limits
from src.swarm.shapes.models import Tool
from tests.unit.swarm.given import Story, raw


def test_a_patch_changes_what_it_names_and_nothing_else() -> None:
    story = Story(Config(goal="Learn.", limits=Limits(credits=9, tool_calls=8)))

    (event,) = story.tell(PatchConfig(raw({"limits": {"credits": 7}, "swarm_leader": "scout"})))

    expected = Config(goal="Learn.", limits=Limits(credits=7, tool_calls=8), swarm_leader="scout")
    assert story.state.config == expected
    assert event == ConfigChanged(expected, ("swarm_leader", "limits"))


def test_null_puts_a_field_back_to_its_default() -> None:
    story = Story(Config(goal="Learn.", limits=Limits(credits=9)))

    story.tell(PatchConfig(raw({"goal": None, "limits": None})))

    assert story.state.config == Config()


def test_a_patch_merges_into_maps() -> None:
    story = Story(Config(event_subscriptions=raw({"swarm/user": ["scout"], "swarm/tool": []})))

    story.tell(
        PatchConfig(raw({"event_subscriptions": {"swarm/tool": None, "swarm/#": ["tutor"]}}))
    )

    assert story.state.config.event_subscriptions == raw(
        {"swarm/user": ["scout"], "swarm/#": ["tutor"]}
    )


def test_the_language_model_goes_by_its_wire_name() -> None:
    story = Story()

    (event,) = story.tell(PatchConfig(raw({"model_config": {"model": "offline/rules"}})))

    assert story.state.config.llm_config == LlmConfig("offline/rules")
    assert isinstance(event, ConfigChanged)
    assert event.changed == ("model_config",)


def test_a_patch_without_effect_is_no_event() -> None:
    story = Story(Config(goal="Learn."))

    assert story.tell(PatchConfig(raw({"goal": "Learn.", "team_id": None}))) == ()


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        (raw([1]), "patch"),
        (Raw(b"{"), "patch"),
        (raw({"goals": "x"}), "patch.goals"),
        (raw({"goal": 1}), "patch.goal"),
        (raw({"limits": {"credits": -1}}), "patch.limits.credits"),
        (raw({"limits": {"credit": 1}}), "patch.limits.credit"),
        (raw({"policy": {"acl": ["not an id"]}}), "patch.policy.acl[0]"),
        (raw({"model_config": {"options": []}}), "patch.model_config.options"),
        (raw({"subtask_leaders": {"a": 1}}), "patch.subtask_leaders[...]"),
        (raw({"event_subscriptions": {"a": "b"}}), "patch.event_subscriptions[...]"),
        (raw({"event_subscriptions": {"a/#/b": []}}), "patch.event_subscriptions"),
        (raw({"scheduling": {"tool_delays": {"a": -1}}}), "patch.scheduling.tool_delays[...]"),
        (raw({"scheduling": {"approval_timeout_s": 0.5}}), "patch.scheduling.approval_timeout_s"),
        (raw({"responder": {"loop_cap": 0}}), "patch.responder.loop_cap"),
        (raw({"responder": {"policy": "loudest"}}), "patch.responder.policy"),
    ],
)
def test_a_bad_patch_is_refused_at_its_place(patch: Raw, field: str) -> None:
    story = Story()

    with pytest.raises(Refused) as refused:
        story.tell(PatchConfig(patch))

    assert (refused.value.code, refused.value.field) == ("invalid", field)
    assert story.state.config == Config()


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (Config(subtask_leaders=raw([])), "config.subtask_leaders"),
        (Config(secrets=Raw(b"{")), "config.secrets"),
        (Config(responder=ResponderRules(keywords=raw([]))), "config.responder.keywords"),
        (Config(scheduling=Scheduling(tool_delays=raw(1))), "config.scheduling.tool_delays"),
        (Config(llm_config=LlmConfig(options=raw(1))), "config.model_config.options"),
    ],
)
def test_a_conversation_does_not_begin_with_a_bad_map(config: Config, field: str) -> None:
    with pytest.raises(Refused) as refused:
        Story(config)

    assert refused.value.field == field


def test_maps_are_kept_in_one_form_however_they_were_written() -> None:
    story = Story(Config(secrets=Raw(b' { "a" : "high" } ')))

    assert bytes(story.state.config.secrets) == b'{"a":"high"}'


def test_a_config_survives_its_own_json() -> None:
    config = Story(Config(secrets=raw({"a": "b"}), goal="Learn.")).state.config

    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        ((Tool("a"), Tool("b"), Tool("a")), ("exists", "tools[2].name")),
        ((Tool("a", input_schema=raw([])),), ("invalid", "tools[0].input_schema")),
        ((Tool("a", output_schema=raw("x")),), ("invalid", "tools[0].output_schema")),
    ],
)
def test_bad_tools_are_refused(tools: tuple[Tool, ...], expected: Any) -> None:
    with pytest.raises(Refused) as refused:
        Story().tell(SetTools(tools))

    assert (refused.value.code, refused.value.field) == expected


def test_tools_are_replaced_and_the_same_again_changes_nothing() -> None:
    story = Story(create=Create("c-1", available_tools=(Tool("old"),)))
    tools = (Tool("look", "Looks.", raw({"type": "object"})),)

    story.tell(SetTools(tools))

    assert story.state.available_tools == tools
    assert story.tell(SetTools(tools)) == ()
