"""Whose token goes with each request, and where it comes from."""

from __future__ import annotations

import pytest
from swarmstate_client import Client, Login, Unauthorized, Unavailable

from tests.support.standing_in import Hasty, StandIn, breaks, done, refuses, says, standing_in

PROFILE = {"id": "u-1", "email": "ada@example.org", "name": "Ada", "roles": [], "version": 0}
WRONG = refuses(401, "unauthorized")


def tokens(number: int, *, expires_in: int = 1800) -> dict[str, object]:
    return {
        "access_token": f"access-{number}",
        "token_type": "Bearer",
        "expires_in": expires_in,
        "refresh_token": f"refresh-{number}",
        "user": PROFILE,
    }


def told(server: StandIn) -> list[tuple[str, object]]:
    """Return each path with what let the request in: the token, or the body of /auth."""
    return [
        (
            asked.path.removeprefix("/api/v1"),
            asked.headers.get("Authorization", "").removeprefix("Bearer ")
            or asked.json.get("refresh_token", asked.json.get("password")),
        )
        for asked in server.asked
    ]


def client(server: StandIn) -> Client:
    return Client(server.url, Login("ada@example.org", "secret"), patience=Hasty())


async def test_a_login_is_made_once_for_many_requests() -> None:
    async with (
        standing_in(says(tokens(1)), says(PROFILE), says(PROFILE)) as server,
        client(server) as swarm,
    ):
        await swarm.people.profile()
        await swarm.people.profile()
    assert told(server) == [
        ("/auth/login", "secret"),
        ("/profile", "access-1"),
        ("/profile", "access-1"),
    ]


async def test_a_token_is_renewed_before_it_ends_and_each_refresh_token_is_sent_once() -> None:
    # What has no time left is due at its next use.
    answers = (
        says(tokens(1, expires_in=0)),
        says(PROFILE),
        says(tokens(2, expires_in=0)),
        says(PROFILE),
        says(tokens(3)),
        says(PROFILE),
    )
    async with standing_in(*answers) as server, client(server) as swarm:
        for _ in range(3):
            await swarm.people.profile()
    assert told(server)[2:] == [
        ("/auth/refresh", "refresh-1"),
        ("/profile", "access-2"),
        ("/auth/refresh", "refresh-2"),
        ("/profile", "access-3"),
    ]


async def test_where_a_refresh_is_refused_the_password_is_shown_again() -> None:
    answers = (says(tokens(1, expires_in=0)), says(PROFILE), WRONG, says(tokens(2)), says(PROFILE))
    async with standing_in(*answers) as server, client(server) as swarm:
        await swarm.people.profile()
        await swarm.people.profile()
    assert told(server)[2:] == [
        ("/auth/refresh", "refresh-1"),
        ("/auth/login", "secret"),
        ("/profile", "access-2"),
    ]


async def test_while_no_server_can_renew_a_good_token_is_used_on() -> None:
    now = [0.0]
    login = Login("ada@example.org", "secret", clock=lambda: now[0])
    away = refuses(503, "read_only")
    answers = (says(tokens(1)), says(PROFILE), away, says(PROFILE), says(PROFILE), away, away, away)
    async with (
        standing_in(*answers) as server,
        Client(server.url, login, patience=Hasty()) as swarm,
    ):
        await swarm.people.profile()
        now[0] = 1799.0
        await swarm.people.profile()
        await swarm.people.profile()
        now[0] = 1801.0
        with pytest.raises(Unavailable):
            await swarm.people.profile()
    assert told(server)[2:] == [
        ("/auth/refresh", "refresh-1"),
        ("/profile", "access-1"),
        ("/profile", "access-1"),
        ("/auth/login", "secret"),
        ("/auth/login", "secret"),
        ("/auth/login", "secret"),
    ]


async def test_a_token_that_was_revoked_is_replaced_once() -> None:
    answers = (says(tokens(1)), WRONG, says(tokens(2)), says(PROFILE))
    async with standing_in(*answers) as server, client(server) as swarm:
        await swarm.people.profile()
    assert told(server)[-1] == ("/profile", "access-2")
    async with (
        standing_in(says(tokens(1)), WRONG, says(tokens(2)), WRONG) as server,
        client(server) as swarm,
    ):
        with pytest.raises(Unauthorized, match="log in again"):
            await swarm.people.profile()


async def test_a_wrong_password_is_shown_once() -> None:
    async with standing_in(WRONG) as server, client(server) as swarm:
        with pytest.raises(Unauthorized):
            await swarm.people.profile()
    assert len(server.asked) == 1


async def test_a_login_that_nobody_answers_is_tried_as_often_as_the_request() -> None:
    away = refuses(503, "read_only")
    async with standing_in(away, breaks, away) as server, client(server) as swarm:
        with pytest.raises(Unavailable):
            await swarm.people.profile()
    assert [path for path, _ in told(server)] == ["/auth/login"] * 3


async def test_after_a_logout_the_next_request_logs_in_anew() -> None:
    answers = (says(tokens(1)), done(), says(tokens(2)), says(PROFILE))
    async with standing_in(*answers) as server, client(server) as swarm:
        await swarm.people.logout()
        await swarm.people.profile()
    assert [path for path, _ in told(server)] == [
        "/auth/login",
        "/auth/logout",
        "/auth/login",
        "/profile",
    ]


async def test_a_fixed_token_that_is_refused_stays_refused() -> None:
    async with (
        standing_in(WRONG) as server,
        Client(server.url, "ssk_1", patience=Hasty()) as swarm,
    ):
        with pytest.raises(Unauthorized):
            await swarm.people.profile()
    assert told(server) == [("/profile", "ssk_1")]


async def test_a_function_is_asked_for_each_try() -> None:
    names = iter(("one", "two", "three"))

    async def give() -> str:
        return next(names)

    async with (
        standing_in(WRONG, says(PROFILE), says(PROFILE)) as server,
        Client(server.url, give, patience=Hasty()) as swarm,
    ):
        await swarm.people.profile()
        await swarm.people.profile()
    assert [token for _, token in told(server)] == ["one", "two", "three"]


def test_a_login_hides_its_password() -> None:
    login = Login("ada@example.org", "secret")
    assert repr(login) == "Login('ada@example.org', '***')"
