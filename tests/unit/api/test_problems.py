"""Problems: one status and one code for each error, and nothing of ours in a defect's answer."""

from __future__ import annotations

import pytest

from src.api.errors import ApiError, Forbidden, Unauthorized, Unavailable
from src.api.problems import TABLE, describe, respond
from src.state import errors as state_errors
from src.state.configs import ConfigExists
from src.state.errors import (
    Behind,
    DurableTierUnavailable,
    EventRefused,
    MalformedVersion,
    NotFound,
    NotOwner,
    OutcomeUnknown,
    Overloaded,
    OwnershipLost,
    OwnershipUnknown,
    ReadOnly,
    Refused,
    SharedTierUnavailable,
    StateError,
    Undecodable,
    VersionConflict,
)
from src.swarm.errors import (
    InvalidCommand,
    MediaUnavailable,
    NotAServer,
    RulesUnknown,
    SwarmError,
)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unauthorized("there is no token"), 401, "unauthorized"),
        (NotAServer("no token"), 401, "unauthorized"),
        (Forbidden("no"), 403, "forbidden"),
        (NotFound("bot", "ada"), 404, "not_found"),
        (ConfigExists("bot", "ada"), 409, "exists"),
        (Refused("exists", "already there", field="id"), 409, "exists"),
        (Refused("finished", "over"), 409, "finished"),
        (VersionConflict("c-1", 3, 4), 409, "version_conflict"),
        (InvalidCommand("wrong", field="text"), 422, "invalid"),
        (Refused("too_large", "long", field="text"), 422, "too_large"),
        (EventRefused("c-1", "encoding"), 422, "event_refused"),
        (MalformedVersion("x"), 422, "invalid"),
        (NotOwner("c-1", "srv-2"), 503, "ownership_unknown"),
        (OwnershipLost("c-1"), 503, "ownership_unknown"),
        (OwnershipUnknown("c-1", "why"), 503, "ownership_unknown"),
        (OutcomeUnknown("c-1"), 503, "outcome_unknown"),
        (Overloaded("much waits", 3.2), 503, "overloaded"),
        (Behind("c-1", "1.9", "1.8"), 503, "behind"),
        (Unavailable("going"), 503, "draining"),
        (MediaUnavailable("LiveKit does not answer"), 503, "livekit_unavailable"),
        (DurableTierUnavailable("down"), 503, "read_only"),
        (ReadOnly("c-1"), 503, "read_only"),
        (RulesUnknown("c-1", [("team", "crew")]), 503, "rules_unknown"),
        (SharedTierUnavailable("down"), 503, "tier_unavailable"),
        (Undecodable("state", "broken"), 500, "internal"),
        (ValueError("secret details"), 500, "internal"),
    ],
)
def test_each_error_has_its_status_and_code(error: Exception, status: int, code: str) -> None:
    problem = describe(error)

    assert (problem.status, problem.code) == (status, code)
    assert problem.type == f"urn:swarmstate:problem:{code}"
    assert (problem.retry_after is not None) == (status == 503)


def test_every_error_of_the_rooms_below_is_in_the_table_or_a_defect() -> None:
    classes = [
        kind
        for kind in vars(state_errors).values()
        if isinstance(kind, type) and issubclass(kind, StateError)
    ]

    assert classes
    assert all(any(parent in TABLE for parent in kind.__mro__) for kind in classes)
    assert {StateError, SwarmError, ApiError} <= set(TABLE)


def test_a_conflict_with_if_match_is_a_failed_precondition() -> None:
    problem = describe(VersionConflict("ada", 1, 2), if_match=True)

    assert (problem.status, problem.code) == (412, "precondition_failed")
    assert [one.field for one in problem.errors] == ["If-Match"]


def test_a_refusal_names_its_field() -> None:
    problem = describe(InvalidCommand("Expected `str`, got `int`", field="author.name"))

    assert [one.field for one in problem.errors] == ["author.name"]


def test_rules_that_cannot_be_read_are_named() -> None:
    problem = describe(RulesUnknown("c-1", [("team", "crew"), ("setting", "limits")]))

    assert "team 'crew', setting 'limits' cannot be read" in problem.detail


@pytest.mark.parametrize(
    "error",
    [RuntimeError("password hunter2"), DurableTierUnavailable("10.0.0.7 refused hunter2")],
)
def test_what_happened_inside_stays_inside(error: Exception) -> None:
    response = respond(describe(error), "r-1")

    assert b"hunter2" not in response.body
    assert b'"request_id":"r-1"' in response.body


def test_only_a_refusal_ahead_of_every_try_says_that_nothing_was_changed() -> None:
    """The commit of a config may have been made although its answer never came."""
    assert "nothing was changed" in describe(ReadOnly("c-1")).detail
    assert "nothing was changed" not in describe(DurableTierUnavailable("no answer")).detail


def test_waiting_is_said_in_whole_seconds() -> None:
    assert respond(describe(Overloaded("x", 2.6)), "r").headers["retry-after"] == "3"
    assert respond(describe(Overloaded("x", 0.1)), "r").headers["retry-after"] == "1"


def test_a_missing_token_says_which_scheme_is_wanted() -> None:
    response = respond(describe(Unauthorized("there is no token")), "r")

    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.media_type == "application/problem+json"
