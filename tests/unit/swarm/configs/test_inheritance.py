"""What a conversation inherits, what it obeys, and where each value comes from."""

from __future__ import annotations

import msgspec
import pytest

from src.state.errors import Refused
from src.swarm.configs import inheritance
from src.swarm.configs.bots import ProviderNames
from src.swarm.configs.inheritance import EffectiveValue, Layer, Origin, effective, in_effect
from src.swarm.dialogue import floor
from src.swarm.dialogue.responder import who_answers
from src.swarm.shapes.commands import Command, CountUsage, PostMessage, SaveTurn, SetTeam, Speaker
from src.swarm.shapes.config import Config, LlmConfig, Policy, ResponderRules, Scheduling
from src.swarm.shapes.limits import CAPS, Limits
from src.swarm.shapes.models import TeamRef
from src.swarm.shapes.work import RequestToolCall
from tests.unit.swarm.given import Story, raw

GLOBAL = Origin("global", "limits", 4)
TEAM = Origin("team", "launch", 3)


def found(config: Config, *above: Layer) -> dict[str, EffectiveValue]:
    return {value.field: value for value in inheritance.values(config, above)}


def test_without_layers_the_defaults_hold_and_say_so() -> None:
    values = found(Config())

    assert {value.origin for value in values.values()} == {Origin("default")}
    assert values["limits.tool_calls"].value == raw(50)
    assert values["responder.loop_cap"].value == raw(6)


def test_global_is_overridden_by_the_team_and_the_team_by_the_conversation() -> None:
    above = (
        Layer(GLOBAL, limits=Limits(credits=1, tool_calls=1, duration_s=1)),
        Layer(TEAM, limits=Limits(credits=2, tool_calls=2)),
    )
    config = Config(limits=Limits(credits=3))

    values = found(config, *above)

    limits = effective(config, above).limits
    assert (limits.credits, limits.tool_calls, limits.duration_s) == (3, 2, 1)
    assert values["limits.credits"].origin == Origin("conversation")
    assert values["limits.tool_calls"].origin == TEAM
    assert values["limits.duration_s"].origin == GLOBAL
    assert values["limits.response_s"].origin == Origin("default")


def test_set_to_the_default_is_not_unset() -> None:
    above = Layer(TEAM, scheduling=Scheduling(requires_approval="all", default_delay_ms=5))

    values = found(Config(scheduling=Scheduling(requires_approval="none")), above)

    assert values["scheduling.requires_approval"].value == raw("none")
    assert values["scheduling.requires_approval"].origin == Origin("conversation")
    assert values["scheduling.default_delay_ms"].origin == TEAM


def test_clamped_value_tells_what_was_set() -> None:
    value = found(Config(), Layer(GLOBAL, limits=Limits(tool_calls=5_000)))["limits.tool_calls"]

    assert value == EffectiveValue("limits.tool_calls", raw(CAPS.tool_calls), GLOBAL, 5_000)


def test_each_key_of_a_map_has_an_origin_of_its_own() -> None:
    above = Layer(TEAM, scheduling=Scheduling(tool_delays=raw({"pay": 1, "look": 2})))

    values = found(Config(scheduling=Scheduling(tool_delays=raw({"pay": 3}))), above)

    assert values["scheduling.tool_delays[pay]"].origin == Origin("conversation")
    assert values["scheduling.tool_delays[pay]"].value == raw(3)
    assert values["scheduling.tool_delays[look]"].origin == TEAM


def test_model_of_the_conversation_is_its_layer_of_providers() -> None:
    options = raw({"tts": {"speed": 2}, "llm": {"temperature": 1}})
    above = Layer(TEAM, providers=ProviderNames(llm="a/b", tts="c/d", options=options))
    config = Config(llm_config=LlmConfig("e/f", options=raw({"temperature": 0})))

    providers = effective(config, (above,)).providers

    assert (providers.llm, providers.tts) == ("e/f", "c/d")
    assert providers.options == raw({"tts": {"speed": 2}, "llm": {"temperature": 0}})
    state = in_effect(Story().state, (above,))
    assert state.config.llm_config == LlmConfig("a/b", options=raw({"temperature": 1}))


def test_rules_obey_what_is_in_effect() -> None:
    story = Story()
    turn = story.says("ada")
    above = Layer(TEAM, responder=ResponderRules(default_bot="critic", loop_cap=1))

    state = in_effect(story.state, (above,))

    assert who_answers(story.state, turn).bots == ("scout",)
    assert who_answers(state, turn).bots == ("critic",)
    story.says("scout")
    assert not floor.loop_cap_reached(story.state)
    assert floor.loop_cap_reached(in_effect(story.state, (above,)))


def test_what_is_in_effect_already_says_all_of_itself() -> None:
    above = Layer(TEAM, limits=Limits(credits=2), policy=Policy("private", ("ada",)))

    state = in_effect(Story(Config(goal="Learn.")).state, (above,))

    assert effective(state.config, ()) == effective(Config(), (above,))
    assert state.config.goal == "Learn."


def test_command_is_decided_under_what_its_conversation_inherits() -> None:
    story = Story()
    above = (Layer(TEAM, scheduling=Scheduling(requires_approval="all")),)

    story.tell(RequestToolCall("pay", "scout"), inherited=above)
    story.tell(RequestToolCall("pay", "scout"))

    inherited, own = story.state.pending_tool_calls
    assert (inherited.status, own.status) == ("pending_approval", "scheduled")
    assert story.state.config == Config()


def test_stranger_is_refused_where_the_team_closes_the_door() -> None:
    story = Story()
    stranger = PostMessage(Speaker("person", "zoe"), "Hello?")

    with pytest.raises(Refused) as refused:
        story.tell(stranger, inherited=(Layer(TEAM, policy=Policy("restricted")),))

    assert refused.value.code == "not_a_participant"
    story.tell(stranger)
    assert story.state.messages[-1].author.id == "zoe"


@pytest.mark.parametrize(
    ("command", "ruled"),
    [
        (RequestToolCall("pay", "scout"), True),
        (SaveTurn("hello", "hello yourself"), True),
        (PostMessage(Speaker("person", "zoe"), "Hello?"), True),
        (PostMessage(Speaker("person", "ada"), "Hello."), False),
        (CountUsage(1), False),
    ],
)
def test_only_what_looks_at_rules_is_ruled(command: Command, ruled: bool) -> None:
    assert inheritance.is_ruled(command, Story().state) is ruled


def test_team_of_the_config_comes_before_the_team_of_the_state() -> None:
    story = Story()
    assert inheritance.team_of(story.state) is None
    story.tell(SetTeam(TeamRef("crew")))
    assert inheritance.team_of(story.state) == "crew"
    state = msgspec.structs.replace(story.state, config=Config(team_id="launch"))
    assert inheritance.team_of(state) == "launch"
