"""Configs of teams: what their conversations inherit is checked like a conversation's own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from src.state.errors import Refused
from src.swarm.configs.decoding import encode_config
from src.swarm.configs.teams import Membership, TeamConfig, decode_team

TEAM: dict[str, Any] = {
    "name": "School",
    "members": [{"bot": "tutor", "role": "teacher", "priority": 3}],
    "objectives": ["Learn."],
    "structure": {"type": "MOISE+", "content": "..."},
    "defaults": {
        "limits": {"credits": 5},
        "scheduling": {"tool_delays": {"look": 10}},
        "policy": {"visibility": "private"},
        "responder": {"default_bot": "tutor"},
        "blackboard": [{"id": "pace", "value": {"words": 120}}],
    },
}


def body(value: object) -> bytes:
    return msgspec.json.encode(value)


def test_a_team_survives_its_own_json() -> None:
    team = decode_team(body(TEAM))

    assert team.members == (Membership("tutor", "teacher", 3),)
    assert team.defaults.limits.credits == 5
    assert decode_team(encode_config(team)) == team


def test_a_name_is_all_that_a_team_needs() -> None:
    assert decode_team(b'{"name":"A"}') == TeamConfig("A")


def test_what_a_team_leaves_out_stays_out_of_its_json() -> None:
    defaults = msgspec.json.decode(encode_config(decode_team(body(TEAM))))["defaults"]

    assert defaults["limits"] == {"credits": 5}
    assert defaults["responder"] == {"default_bot": "tutor"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": None}, "name"),
        ({"members": [{"bot": "a"}, {"bot": "a"}]}, "members[1].bot"),
        ({"members": [{"bot": "two words"}]}, "members[0].bot"),
        ({"defaults": {"scheduling": {"tool_delays": []}}}, "defaults.scheduling.tool_delays"),
        ({"defaults": {"providers": {"options": {"wings": {}}}}}, "defaults.providers.options"),
        (
            {"defaults": {"blackboard": [{"id": "a", "value": 1}, {"id": "a", "value": 1}]}},
            "defaults.blackboard[1].id",
        ),
    ],
)
def test_a_bad_team_is_refused_at_its_place(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_team(body(TEAM | change))

    assert refused.value.field == field
