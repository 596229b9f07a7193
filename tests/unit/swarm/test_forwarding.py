"""A command on its way to its owner: what is said there arrives here, and no more is claimed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec import Raw

from src.api.problems import describe
from src.state.errors import (
    Behind,
    DurableTierUnavailable,
    EventRefused,
    NotFound,
    NotOwner,
    OutcomeUnknown,
    Overloaded,
    OwnershipLost,
    OwnershipUnknown,
    ReadOnly,
    Refused,
    StateError,
    VersionConflict,
)
from src.state.models import Durability, Version
from src.swarm.errors import InvalidCommand, RulesUnknown
from src.swarm.forwarding import (
    NOT_OWNER,
    Forwarder,
    Receipt,
    Refusal,
    decode_forwarded,
    encode_forwarded,
    encode_refusal,
    open_forwarder,
    raise_refusal,
)
from src.swarm.internal_tokens import InternalTokens
from src.swarm.shapes.commands import Command, PostMessage, Speaker
from src.swarm.shapes.work import EditBlackboard, Increment
from tests.support.cluster_settings import NOWHERE

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TOKENS = InternalTokens("a secret that all servers share, thirty-two characters")
RECEIPT = Receipt(Version(3, 14), Durability.LOGGED)


# -- commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        PostMessage(Speaker("person", "ada"), "hello", metrics=Raw(b'{"words":1}')),
        EditBlackboard(increment=(Increment("n", 2),), delete=("m",)),
    ],
    ids=lambda command: type(command).__name__,
)
@pytest.mark.parametrize("if_version", [None, Version(0, 0), Version(2, 7)])
@pytest.mark.parametrize("durability", [None, *Durability])
@pytest.mark.parametrize("create", [False, True])
def test_command_arrives_as_it_was_sent(
    command: Command, if_version: Version | None, durability: Durability | None, create: bool
) -> None:
    body = encode_forwarded(
        command, key="k", actor="ada", if_version=if_version, durability=durability, create=create
    )
    arrived, asked = decode_forwarded(body)
    assert arrived == command
    assert (asked.key, asked.actor) == ("k", "ada")
    assert (asked.if_version, asked.durability, asked.create) == (if_version, durability, create)


@pytest.mark.parametrize(
    "body",
    [
        b'{"key":"k","actor":"ada"}',
        b'{"key":"k","actor":"ada","command":{"type":"no such command"}}',
        b'{"key":1,"actor":"ada","command":{"type":"delete"}}',
    ],
)
def test_anything_else_is_no_command(body: bytes) -> None:
    with pytest.raises((msgspec.ValidationError, InvalidCommand)):
        decode_forwarded(body)


# -- refusals ------------------------------------------------------------------------------------


def raised_here(error: StateError, status: int = 409) -> StateError:
    """The error of the owner as its caller on another server gets it."""
    refusal = msgspec.json.decode(encode_refusal(error), type=Refusal)
    with pytest.raises(StateError) as raised:
        raise_refusal("c", refusal, status)
    return raised.value


@pytest.mark.parametrize(
    "error",
    [
        NotOwner("c", "srv-2"),
        VersionConflict("c", "1.3", "2.3"),
        NotFound("conversation", "c"),
        Refused("wrong_status", "resume needs a paused one", field="action"),
        Refused("finished", "it is over"),
        InvalidCommand("too long", field="text"),
        Overloaded("much waits", 2.0),
        OutcomeUnknown("c"),
        EventRefused("c", "half of a surrogate pair"),
        OwnershipUnknown("c", "the beat is too old"),
        ReadOnly("c"),
        RulesUnknown("c", [("team", "crew"), ("setting", "limits")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_of_the_owner_is_the_same_no_here(error: StateError) -> None:
    raised = raised_here(error)
    # What was wrong with a command is told by code and field; the class behind it is the edge's.
    assert isinstance(error, type(raised))
    told = ("code", "detail", "field", "server_id", "expected", "found", "retry_after_s", "wanted")
    for name in told:
        assert getattr(raised, name, None) == getattr(error, name, None), name


@pytest.mark.parametrize(
    "error",
    [OwnershipLost("c"), DurableTierUnavailable("no answer"), Behind("c", "2.2", "2.1")],
    ids=lambda error: type(error).__name__,
)
def test_owner_that_could_not_act_is_asked_again(error: StateError) -> None:
    assert isinstance(raised_here(error, 503), OwnershipUnknown)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_owner_that_failed_has_refused_nothing(status: int) -> None:
    """It may have logged the command before it broke: `Refused` would say that it did not."""
    problem = msgspec.json.encode(describe(ZeroDivisionError("a defect")))
    refusal = msgspec.json.decode(problem, type=Refusal)
    with pytest.raises(OutcomeUnknown):
        raise_refusal("c", refusal, status)


# -- the way there -------------------------------------------------------------------------------


@asynccontextmanager
async def owner(answer: Handler, seconds: float = 5.0) -> AsyncIterator[tuple[Forwarder, str]]:
    """A server that answers so, and a forwarder with its address."""
    app = web.Application()
    app.router.add_post("/internal/v1/conversations/{id}/commands", answer)
    async with (
        TestServer(app) as server,
        open_forwarder(TOKENS, timedelta(seconds=seconds)) as forwarder,
    ):
        yield forwarder, str(server.make_url("")).rstrip("/")


def always(status: int, body: bytes, **options: Any) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, **options)

    return answer


async def test_receipt_of_the_owner_comes_back() -> None:
    seen: list[tuple[str, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        scheme, _, token = request.headers["Authorization"].partition(" ")
        assert scheme == "Bearer"
        TOKENS.verify(token)
        seen.append((request.match_info["id"], await request.read()))
        return web.Response(body=msgspec.json.encode(RECEIPT))

    async with owner(take) as (forwarder, url):
        assert await forwarder.send(url, "c", b"{}") == RECEIPT
        assert forwarder.forwarded == 1
    assert seen == [("c", b"{}")]


async def test_server_that_is_not_the_owner_names_the_one_that_is() -> None:
    no = encode_refusal(NotOwner("c", "srv-2"))
    async with owner(always(NOT_OWNER, no)) as (forwarder, url):
        with pytest.raises(NotOwner) as error:
            await forwarder.send(url, "c", b"{}")
    assert error.value.server_id == "srv-2"


@pytest.mark.parametrize("status", [401, 403, 413])
async def test_request_that_was_turned_away_at_the_door_was_not_taken(status: int) -> None:
    async with owner(always(status, b"no")) as (forwarder, url):
        with pytest.raises(OwnershipUnknown, match=str(status)):
            await forwarder.send(url, "c", b"{}")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, msgspec.json.encode(describe(ZeroDivisionError("a defect")))),
        (502, b"<html>bad gateway</html>"),
        (503, b""),
        (200, b"<html>a login page</html>"),
        (200, b'{"version": "of another release"}'),
        (409, b"[]"),
    ],
)
async def test_answer_that_says_nothing_leaves_the_outcome_open(status: int, body: bytes) -> None:
    async with owner(always(status, body)) as (forwarder, url):
        with pytest.raises(OutcomeUnknown):
            await forwarder.send(url, "c", b"{}")


async def test_owner_that_goes_away_before_it_answers_leaves_the_outcome_open() -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with owner(hang_up) as (forwarder, url):
        with pytest.raises(OutcomeUnknown):
            await forwarder.send(url, "c", b"{}")


async def test_owner_that_takes_too_long_leaves_the_outcome_open() -> None:
    arrived, enough = asyncio.Event(), asyncio.Event()

    async def stall(request: web.Request) -> web.Response:
        arrived.set()
        await enough.wait()
        return web.Response()

    async with asyncio.timeout(10), owner(stall, seconds=0.2) as (forwarder, url):
        try:
            with pytest.raises(OutcomeUnknown):
                await forwarder.send(url, "c", b"{}")
        finally:
            enough.set()
    assert arrived.is_set()


async def test_owner_that_is_found_dead_is_waited_for_no_longer() -> None:
    arrived, enough = asyncio.Event(), asyncio.Event()

    async def stall(request: web.Request) -> web.Response:
        arrived.set()
        await enough.wait()
        return web.Response()

    async with asyncio.timeout(10), owner(stall, seconds=3600) as (forwarder, url):
        sending = asyncio.ensure_future(forwarder.send(url, "c", b"{}"))
        await arrived.wait()
        forwarder.give_up("http://another")
        forwarder.give_up(url)
        with pytest.raises(OutcomeUnknown):
            await sending
        enough.set()
        forwarder.give_up(url)


async def test_server_that_was_never_reached_has_taken_nothing() -> None:
    async with open_forwarder(TOKENS, timedelta(seconds=5)) as forwarder:
        with pytest.raises(OwnershipUnknown, match="cannot be reached"):
            await forwarder.send(f"http://{NOWHERE}", "c", b"{}")
