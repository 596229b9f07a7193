"""A tool call becomes the command that it names, or is refused at its place."""

from __future__ import annotations

import pytest
from msgspec import Raw

from src.state.errors import Refused
from src.swarm.configs.bots import BotTool
from src.swarm.providers import ToolCall
from src.swarm.rules import lesson_tools
from src.swarm.rules.tools import BUILT_IN, command_for, tools_of
from src.swarm.shapes import free_json
from src.swarm.shapes.commands import Command, PassBaton, SetTools
from src.swarm.shapes.models import Tool
from src.swarm.shapes.work import Assignment, EditBlackboard, Increment, SetSubtask
from tests.unit.swarm.given import Story, raw


@pytest.mark.parametrize(
    ("call", "command"),
    [
        (
            ToolCall("blackboard_set", raw({"id": "a", "value": [1]})),
            EditBlackboard(set=(Assignment("a", raw([1])),)),
        ),
        (
            ToolCall("blackboard_append", raw({"id": "a", "value": 1})),
            EditBlackboard(append=(Assignment("a", raw(1)),)),
        ),
        (
            ToolCall("blackboard_increment", raw({"id": "a"})),
            EditBlackboard(increment=(Increment("a", 1),)),
        ),
        (ToolCall("blackboard_delete", raw({"id": "a"})), EditBlackboard(delete=("a",))),
        (ToolCall("pass_baton", raw({"to": "scout"})), PassBaton("scout")),
        (ToolCall("pass_baton"), PassBaton(None)),
        (
            ToolCall("subtask_set", raw({"id": "plan", "description": "Plan."})),
            SetSubtask("plan", "Plan."),
        ),
    ],
)
def test_a_call_becomes_its_command(call: ToolCall, command: Command) -> None:
    story = Story()

    assert command_for(story.state, call) == command
    story.tell(command)


def test_a_subtask_keeps_what_the_call_does_not_name() -> None:
    story = Story()
    story.tell(SetSubtask("first", "First."))
    story.tell(SetSubtask("plan", "Plan.", "todo", "scout", ("first",), "high"))

    command = command_for(
        story.state, ToolCall("subtask_set", raw({"id": "plan", "status": "done"}))
    )

    assert command == SetSubtask("plan", "Plan.", "done", "scout", ("first",), "high")


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (ToolCall("blackboard_set", raw({"id": "a"})), "arguments.value"),
        (ToolCall("blackboard_set", raw({"id": "a b", "value": 1})), "arguments.id"),
        (ToolCall("pass_baton", raw({"whom": "a"})), "arguments.whom"),
        (ToolCall("pass_baton", Raw(b"scout")), "arguments"),
        (ToolCall("subtask_set", raw({"id": "new"})), "arguments.description"),
    ],
)
def test_bad_arguments_are_refused_at_their_place(call: ToolCall, field: str) -> None:
    with pytest.raises(Refused) as refused:
        command_for(Story().state, call)

    assert refused.value.field == field


def test_a_tool_of_somebody_else_is_not_ours_to_translate() -> None:
    assert command_for(Story().state, ToolCall("look")) is None


@pytest.mark.parametrize("tool", [*BUILT_IN, *lesson_tools.TOOLS], ids=lambda tool: tool.name)
def test_a_model_is_shown_a_plain_object_schema(tool: Tool) -> None:
    schema = free_json.read(tool.input_schema)

    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert "$ref" not in str(schema)


def test_a_bot_may_call_tools_of_its_own_but_not_in_the_name_of_the_conversations() -> None:
    story = Story()
    story.tell(SetTools((Tool("look", "Look for all."),)))
    places = raw({"type": "object", "properties": {"at": {"type": "string"}}})
    own = (
        BotTool("weather", "http", "https://weather.example", "Ask for it.", places),
        BotTool("look", description="Look for me."),
        BotTool("pass_baton", description="Keep it."),
    )

    *others, last = tools_of(story.state, None, own)

    assert others == [*tools_of(story.state, None)]
    assert last == Tool("weather", "Ask for it.", places, category="http")
