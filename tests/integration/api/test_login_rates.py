"""Tries of passwords are counted by account, over all servers, and lock nobody out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import cycle

import httpx
import pytest

from tests.support.api import RunningServer, running_server

pytestmark = pytest.mark.directly("whose an address is, is told in nginx's place")


ZOE = {"email": "zoe@example.org", "password": "correct horse battery"}
HOME = "198.51.100.7"
Try = Callable[[dict[str, str], str], Coroutine[None, None, httpx.Response]]


def wrong(email: str) -> dict[str, str]:
    return {"email": email, "password": "an invented password"}


def abroad(number: int) -> str:
    """Return an address from which nobody came before."""
    return f"203.0.113.{number}"


@pytest.fixture
async def try_to_log_in(database_url: str, redis_url: str) -> AsyncIterator[Try]:
    """Log in from an address: at two servers in turn, where Zoe has an account."""
    async with (
        counting(database_url, redis_url) as one,
        counting(database_url, redis_url) as two,
        httpx.AsyncClient(timeout=20) as client,
    ):
        made = await client.post(f"{one.url}/api/v1/auth/register", json=ZOE)
        assert made.status_code == 201, made.text
        in_turn = cycle((one, two))

        async def attempt(given: dict[str, str], address: str) -> httpx.Response:
            url = f"{next(in_turn).url}/api/v1/auth/login"
            return await client.post(url, json=given, headers={"X-Forwarded-For": address})

        yield attempt


@asynccontextmanager
async def counting(database_url: str, redis_url: str) -> AsyncIterator[RunningServer]:
    async with running_server(
        database_url,
        redis_url,
        # Else a server that a busy machine keeps from Redis for a second counts by itself.
        state={"redis_timeout": timedelta(seconds=20)},
        rate_limits="on",
        rate_sign_in="100/1h",
        rate_account="3/1h",
        trusted_proxies=("127.0.0.1",),
    ) as server:
        yield server


@pytest.mark.parametrize("email", [ZOE["email"], ZOE["email"].upper(), "nobody@example.org"])
async def test_guesses_at_an_account_are_few_from_however_many_addresses(
    try_to_log_in: Try, email: str
) -> None:
    guesses = [await try_to_log_in(wrong(email), abroad(number)) for number in range(5)]
    late = await try_to_log_in(ZOE | {"email": email}, abroad(9))
    another = await try_to_log_in(wrong("yan@example.org"), abroad(1))

    assert [one.status_code for one in guesses] == [401] * 3 + [429] * 2
    assert (late.status_code, late.json()["code"]) == (429, "rate_limited")
    assert late.headers["ratelimit-policy"] == '"account";q=3;w=3600'
    assert another.status_code == 401


async def test_strangers_guesses_keep_nobody_out_where_it_logged_in_before(
    try_to_log_in: Try,
) -> None:
    before = await try_to_log_in(ZOE, HOME)
    guesses = [await try_to_log_in(wrong(ZOE["email"]), abroad(number)) for number in range(4)]
    after = [await try_to_log_in(ZOE, HOME) for _ in range(2)]

    assert before.status_code == 200
    assert [one.status_code for one in guesses] == [401, 401, 429, 429]
    assert [one.status_code for one in after] == [200, 200]


async def test_a_known_address_guesses_no_more_often_than_strangers(try_to_log_in: Try) -> None:
    assert (await try_to_log_in(ZOE, HOME)).status_code == 200
    guesses = [await try_to_log_in(wrong(ZOE["email"]), HOME) for _ in range(4)]
    elsewhere = await try_to_log_in(ZOE, abroad(1))

    assert [one.status_code for one in guesses] == [401] * 3 + [429]
    assert elsewhere.status_code == 200
