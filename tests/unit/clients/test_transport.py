"""What the client does about each kind of answer, and about none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web
from swarmstate_client import (
    Client,
    Conflict,
    NotAnswered,
    NotConfigured,
    NotFound,
    NotUnderstood,
    Patience,
    PreconditionFailed,
    ProblemError,
    SwarmstateError,
    Unavailable,
)
from swarmstate_client.asks import Ask

from tests.support.standing_in import Answer, Hasty, breaks, done, refuses, says, sends, standing_in

NOWHERE = "http://127.0.0.1:1"
WRITTEN = {"id": "c-1", "version": "1.7", "durability": "logged"}
CONFIG = {"id": "ada", "version": 2, "updated_at": "2026-01-02T03:04:05Z", "updated_by": "zoe"}
STATE = {
    "id": "c-1",
    "version": {"epoch": 1, "seq": 7},
    "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-01-02T03:04:05Z",
    "created_by": "zoe",
}


def client(*urls: str, patience: Patience | None = None) -> Client:
    return Client(urls, "token-1", patience=patience or Hasty())


async def test_a_request_that_is_tried_again_keeps_its_key() -> None:
    busy = refuses(503, "overloaded")
    async with standing_in(busy, busy, says(WRITTEN)) as server, client(server.url) as swarm:
        assert (await swarm.conversations.command("c-1", "pass_baton", to="ada")).version == "1.7"
    keys = {asked.headers["Idempotency-Key"] for asked in server.asked}
    assert (len(server.asked), len(keys)) == (3, 1)
    assert server.asked[0].json == {"type": "pass_baton", "to": "ada"}
    assert server.asked[0].headers["Authorization"] == "Bearer token-1"


async def test_two_calls_have_two_keys_unless_they_are_given_one() -> None:
    async with standing_in(*[says(WRITTEN)] * 4) as server, client(server.url) as swarm:
        for key in (None, None, "k", "k"):
            await swarm.conversations.command("c-1", "pass_baton", to=None, key=key)
    first, second, third, fourth = (asked.headers["Idempotency-Key"] for asked in server.asked)
    assert first != second
    assert (third, fourth) == ("k", "k")


async def test_retry_after_is_how_long_it_waits_at_least() -> None:
    patience = Hasty()
    async with (
        standing_in(refuses(429, "rate_limited", Retry_After="7"), says(STATE)) as server,
        client(server.url, patience=patience) as swarm,
    ):
        await swarm.conversations.get("c-1")
    assert patience.asked == [7.0]


@pytest.mark.parametrize(
    "passing",
    [
        refuses(503, "ownership_unknown"),
        refuses(503, "outcome_unknown"),
        refuses(409, "version_conflict"),
        refuses(409, "key_in_use"),
        sends(b"<html>Bad Gateway</html>", 502),
        breaks,
    ],
)
async def test_what_passes_is_tried_again(passing: Answer) -> None:
    async with standing_in(passing, says(WRITTEN)) as server, client(server.url) as swarm:
        await swarm.conversations.command("c-1", "pass_baton", to="ada")
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refuses(409, "exists"), Conflict),
        (refuses(409, "not_a_participant"), Conflict),
        (refuses(412, "precondition_failed"), PreconditionFailed),
        (refuses(404, "not_found"), NotFound),
        (refuses(503, "not_configured"), NotConfigured),
        (refuses(500, "internal"), ProblemError),
        (says({}, 302, Location="http://example.org"), ProblemError),
    ],
)
async def test_what_stays_is_not(answer: Answer, kind: type[ProblemError]) -> None:
    async with standing_in(answer, says(WRITTEN)) as server, client(server.url) as swarm:
        with pytest.raises(kind) as refused:
            await swarm.conversations.command("c-1", "pass_baton", to="ada")
    assert len(server.asked) == 1
    assert not refused.value.unsure


async def test_the_last_try_is_the_error_and_says_what_to_do() -> None:
    answers = [refuses(503, "behind")] * 3
    async with standing_in(*answers) as server, client(server.url) as swarm:
        with pytest.raises(Unavailable) as refused:
            await swarm.conversations.get("c-1")
    assert str(refused.value) == "503 behind: it is behind; try again later (request_id r-1)"


async def test_a_server_that_is_away_is_passed_over_and_the_one_that_answers_stays_first() -> None:
    async with (
        standing_in(*[says(STATE)] * 2) as server,
        client(NOWHERE, server.url) as swarm,
    ):
        await swarm.conversations.get("c-1")
        await swarm.conversations.get("c-1")
    assert len(server.asked) == 2


async def test_a_write_that_nobody_answers_tells_the_key_to_repeat_it_with() -> None:
    async with standing_in(breaks, breaks, breaks) as server, client(server.url) as swarm:
        with pytest.raises(NotAnswered) as unanswered:
            await swarm.conversations.say("c-1", "hello")
    assert unanswered.value.key == server.asked[0].headers["Idempotency-Key"]
    assert not unanswered.value.sure


async def test_a_server_that_says_nothing_is_waited_for_no_longer_than_said() -> None:
    ended = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        await ended.wait()
        return web.Response()

    async with (
        standing_in(silent, silent) as server,
        client(server.url, patience=Hasty(attempts=2, timeout_s=0.05)) as swarm,
    ):
        with pytest.raises(NotAnswered, match="TimeoutError"):
            await swarm.conversations.get("c-1")
        ended.set()


async def test_a_refusal_after_an_unanswered_try_says_that_it_may_have_been_done() -> None:
    answers = (breaks, refuses(412, "precondition_failed"))
    async with standing_in(*answers) as server, client(server.url) as swarm:
        with pytest.raises(PreconditionFailed, match="may have done it: read again") as refused:
            await swarm.bots.patch("ada", {"goal": "listen"}, if_match=1)
    assert refused.value.unsure
    assert [asked.headers["If-Match"] for asked in server.asked] == ['"1"', '"1"']


async def test_what_is_gone_after_an_unanswered_deletion_was_deleted() -> None:
    async with standing_in(breaks, refuses(404, "not_found")) as server, client(server.url) as one:
        await one.bots.delete("ada")
    assert len(server.asked) == 2
    async with standing_in(refuses(404, "not_found")) as server, client(server.url) as one:
        with pytest.raises(NotFound):
            await one.bots.delete("ada")


async def test_what_aiohttp_repeats_by_itself_counts_as_unanswered_too() -> None:
    answers = (breaks, refuses(412, "precondition_failed"))
    async with standing_in(*answers) as server, client(server.url) as swarm:
        with pytest.raises(PreconditionFailed) as refused:
            await swarm.bots.replace("ada", {"name": "Ada"}, if_match=1)
    assert refused.value.unsure


async def test_what_has_no_key_is_repeated_only_when_nothing_can_have_been_done() -> None:
    made = {"key": "ssk_1", "info": KEY}
    answers = (refuses(503, "overloaded"), says(made, 201))
    patience = Hasty(attempts=4)
    async with (
        standing_in(*answers) as server,
        client(NOWHERE, server.url, patience=patience) as swarm,
    ):
        assert (await swarm.people.create_api_key("worker")).key == "ssk_1"
    for unanswered in (breaks, refuses(503, "outcome_unknown")):
        async with standing_in(unanswered) as server, client(server.url) as swarm:
            with pytest.raises((NotAnswered, Unavailable)):
                await swarm.people.create_api_key("worker")
        assert len(server.asked) == 1


KEY = {
    "id": "k-1",
    "name": "worker",
    "roles": ["service"],
    "masked": "ssk_...1",
    "created_by": "root",
    "created_at": "2026-01-02T03:04:05Z",
    "expires_at": None,
}


async def test_each_answer_s_version_goes_with_the_next_request_for_the_same_thing() -> None:
    answers = (
        says(WRITTEN, X_Swarm_Version="1.7"),
        says(STATE, X_Swarm_Version="1.6"),
        says(STATE),
        says({**STATE, "id": "c-2"}),
    )
    async with standing_in(*answers) as server, client(server.url) as swarm:
        await swarm.conversations.command("c-1", "pass_baton", to="ada")
        for id in ("c-1", "c-1", "c-2"):
            await swarm.conversations.get(id)
    versions = [asked.headers.get("X-Swarm-Version") for asked in server.asked]
    assert versions == [None, "1.7", "1.7", None]


async def test_what_is_no_answer_of_the_api_is_named() -> None:
    answers = (sends(b"<html>"), says({"id": "c-1"}))
    async with standing_in(*answers) as server, client(server.url) as swarm:
        with pytest.raises(NotUnderstood, match=r"GET /api/v1/conversations/c-1 is not JSON"):
            await swarm.conversations.get("c-1")
        with pytest.raises(NotUnderstood, match=r"answer\.version is missing"):
            await swarm.conversations.get("c-1")


async def test_an_id_stays_within_its_place_in_the_path() -> None:
    async with standing_in(done()) as server, client(server.url) as swarm:
        await swarm.bots.delete("a/../b?c=d")
        for wrong in ("", ".", ".."):
            with pytest.raises(ValueError, match="is no id for"):
                await swarm.bots.delete(wrong)
    assert [asked.path for asked in server.asked] == ["/api/v1/bots/a/../b?c=d"]


async def test_outside_of_its_block_a_client_says_so() -> None:
    with pytest.raises(SwarmstateError, match="use it in `async with`"):
        await client(NOWHERE).conversations.get("c-1")


@pytest.mark.parametrize(
    "wrong", [lambda: Client([], "t"), lambda: Patience(attempts=0), lambda: Patience(pause_s=-1)]
)
def test_what_cannot_work_is_refused_at_once(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"urls is empty|is not above 0"):
        wrong()


def test_no_secret_is_in_a_repr() -> None:
    assert repr(Client("http://one", "secret")) == "Client(http://one)"
    assert "secret" not in repr(Ask(method="POST", path="/", body={"password": "secret"}))


def test_pauses_grow_and_stay_within_their_bound() -> None:
    patience = Patience(pause_s=1.0, longest_pause_s=10.0)
    assert all(0 <= patience.pause(1, None) <= 2 for _ in range(100))
    assert max(patience.pause(3, None) for _ in range(200)) > 2
    assert all(4 <= patience.pause(1, 4.0) <= 6 for _ in range(100))
    assert patience.pause(1000, 3600.0) == 10.0
