"""Webhooks on the real PostgreSQL: in order, at least once, by one leader at a time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from src.state.clock import SystemClock
from src.state.models import Term
from src.state.records.outbox import Outbox
from src.state.records.webhooks import Try, Webhook, Webhooks
from src.state.tiers.postgres import Line, Pool, open_pool
from src.state.tiers.postgres_duties import PostgresDuties
from src.state.tiers.postgres_ownership import PostgresRegistry
from src.swarm.webhooks.relay import Patience, Relay
from src.swarm.webhooks.sender import open_sender
from tests.support.cluster_settings import eventually, settings
from tests.support.listening import listening

DUTY = "webhook-relay"
SECRET = b"s" * 32
QUICK = Patience(timedelta(milliseconds=10), timedelta(milliseconds=20), timedelta(days=1))


class Receiver:
    """An endpoint that remembers what it got, verified by itself, and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        """(webhook-id, payload) of all that was answered with 204."""
        self.tries: list[str] = []
        self.answers: list[int] = []
        """Statuses for the next requests; 204 when there are none."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""
        self.secret = SECRET

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        id = request.headers["webhook-id"]
        self.tries.append(id)
        await self.gate.wait()
        signed = f"{id}.{request.headers['webhook-timestamp']}.".encode() + body
        digest = base64.b64encode(hmac.new(self.secret, signed, hashlib.sha256).digest()).decode()
        assert f"v1,{digest}" in request.headers["webhook-signature"].split(" ")
        status = self.answers.pop(0) if self.answers else 204
        if status == 204:
            self.got.append((id, json.loads(body)))
        headers = {"Location": "/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers)

    @property
    def versions(self) -> list[int]:
        return [payload["data"]["version"] for _, payload in self.got]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    async with listening(app) as url:
        receiver.url = f"{url}/hook"
        try:
            yield receiver
        finally:
            receiver.gate.set()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


class World:
    """The stores, and servers that may lead."""

    def __init__(self, pool: Pool, registry: PostgresRegistry) -> None:
        self.pool, self.registry = pool, registry
        self.records, self.outbox = Webhooks(pool), Outbox(pool)

    async def commit(self, *versions: int, kind: str = "bot", id: str = "ada") -> None:
        for version in versions:
            await self.pool.execute(
                "INSERT INTO outbox (kind, id, version) VALUES ($1, $2, $3)", kind, id, version
            )

    async def hook(self, receiver: Receiver, id: str = "w", **filters: Any) -> Webhook:
        given = {"kinds": (), "ids": (), **filters}
        made = await self.records.create(
            id, receiver.url, given["kinds"], given["ids"], True, SECRET, "ed", 200
        )
        assert made is not None
        return made

    async def lead(self, server: str) -> Term:
        await self.registry.register(server, f"http://{server}")
        return Term(DUTY, server, (await PostgresDuties(self.pool).hold(server, [DUTY]))[DUTY])

    async def webhook(self, id: str = "w") -> Webhook:
        found = await self.records.get(id)
        assert found is not None
        return found

    @asynccontextmanager
    async def relaying(
        self,
        term: Term,
        patience: Patience = QUICK,
        records: Webhooks | None = None,
        *,
        private: bool = True,
    ) -> AsyncIterator[Relay]:
        async with open_sender(SystemClock(), timedelta(seconds=5), private=private) as sender:
            relay = Relay(records or self.records, self.outbox, sender, patience, SystemClock())
            running = asyncio.create_task(relay.run(term))
            try:
                yield relay
            finally:
                running.cancel()
                await asyncio.wait((running,))


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    given = settings(database_url)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(given))
        line = Line(given)
        stack.push_async_callback(line.aclose)
        yield World(pool, PostgresRegistry(line, line))


def got(receiver: Receiver, count: int) -> Callable[[], bool]:
    return lambda: len(receiver.got) >= count


async def test_receiver_is_told_in_order_of_what_it_wants_and_no_more(
    world: World, receiver: Receiver
) -> None:
    await world.commit(1)
    await world.hook(receiver, kinds=("bot",), ids=("ada", "bea"))
    term = await world.lead("a")
    async with world.relaying(term):
        await world.commit(*range(2, 62))
        await world.commit(1, id="cat")
        await world.commit(1, kind="team")
        await world.commit(70)
        await eventually(got(receiver, 61), what="everything told")

        async def passed() -> bool:
            return (await world.webhook()).position == 64

        await eventually(passed)
    assert receiver.versions == [*range(2, 62), 70]
    assert len(set(receiver.tries)) == len(receiver.tries) == 61
    log = await world.records.deliveries("w", 2**62, 100)
    assert {(one.status, one.attempt, one.http_status) for one in log} == {("delivered", 1, 204)}


async def test_message_that_fails_is_sent_again_under_its_id_before_the_next(
    world: World, receiver: Receiver
) -> None:
    await world.hook(receiver)
    await world.commit(1, 2, 3)
    receiver.answers = [204, 500, 302, 429]
    async with world.relaying(await world.lead("a")):
        await eventually(got(receiver, 3), what="told after failures")
    assert receiver.versions == [1, 2, 3]
    assert receiver.tries[1:5] == [receiver.got[1][0]] * 4
    log = (await world.records.deliveries("w", 2**62, 100))[::-1]
    told = [(one.attempt, one.status, one.http_status) for one in log[:5]]
    assert told == [
        (1, "delivered", 204),
        (1, "retrying", 500),
        (2, "retrying", 302),
        (3, "retrying", 429),
        (4, "delivered", 204),
    ]
    assert log[2].error == "answered 302; redirects are not followed"
    assert [one.next_try is not None for one in log[:5]] == [False, True, True, True, False]


class Dying(Webhooks):
    """Books of a leader that is killed after a delivery and before it is noted."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.reached = asyncio.Event()

    async def settle(self, term: Term, webhook: Webhook, tried: Try) -> Webhook | None:
        if webhook.position == 1:
            self.reached.set()
            await asyncio.Event().wait()
        return await super().settle(term, webhook, tried)


async def test_leader_killed_between_delivery_and_note_is_followed_by_one_that_repeats_it(
    world: World, receiver: Receiver
) -> None:
    await world.hook(receiver)
    await world.commit(1, 2, 3)
    dying = Dying(world.pool)
    async with world.relaying(await world.lead("a"), records=dying):
        async with asyncio.timeout(10):
            await dying.reached.wait()
    await world.registry.leave("a")
    async with world.relaying(await world.lead("b")):
        await eventually(got(receiver, 4), what="told by the next leader")
    assert receiver.versions == [1, 2, 2, 3]
    first, second, again, _ = (id for id, _ in receiver.got)
    assert second == again != first


async def test_late_note_of_an_old_leader_changes_nothing(world: World, receiver: Receiver) -> None:
    hook = await world.hook(receiver)
    await world.commit(1, 2)
    old = await world.lead("a")
    await world.registry.leave("a")
    new = await world.lead("b")
    assert new.epoch > old.epoch

    delivered = Try("msg", "bot.changed", 1, "delivered", 204, "")
    given_up = Try("msg", "bot.changed", 1, "failed", 500, "answered 500", reason="late")
    for tried in (delivered, given_up):
        assert await world.records.settle(old, hook, tried) is None
    assert await world.records.pass_over(old, hook, 2) is None
    assert (await world.webhook()) == hook
    assert await world.records.deliveries("w", 2**62, 10) == []

    moved = await world.records.settle(new, hook, delivered)
    assert moved is not None
    assert moved.position == 1
    # A note of the present leader on where the webhook no longer is counts no more.
    assert await world.records.settle(new, hook, given_up) is None


async def test_receiver_that_hangs_holds_up_nobody_else(world: World, receiver: Receiver) -> None:
    async with receiving() as slow:
        slow.gate.clear()
        await world.hook(slow, "slow")
        await world.hook(receiver, "quick")
        await world.commit(1, 2, 3)
        async with world.relaying(await world.lead("a")):
            await eventually(got(receiver, 3), what="the other one is told")
            assert (len(slow.tries), slow.got) == (1, [])


async def test_webhook_that_fails_for_too_long_is_disabled_and_goes_on_when_told_to(
    world: World, receiver: Receiver
) -> None:
    await world.hook(receiver)
    await world.commit(1, 2)
    receiver.answers = [500, 500]
    short = Patience(QUICK.first, QUICK.longest, timedelta(milliseconds=1))
    async with world.relaying(await world.lead("a"), short):

        async def disabled() -> bool:
            return not (await world.webhook()).active

        await eventually(disabled)
        hook = await world.webhook()
        assert hook.reason.endswith("answered 500")
        assert [one.status for one in await world.records.deliveries("w", 2**62, 10)] == [
            "failed",
            "retrying",
        ]
        await world.commit(3)
        await world.records.update(replace(hook, active=True))
        await eventually(got(receiver, 2), what="told again")
    assert receiver.versions == [2, 3]


async def test_receiver_that_is_gone_is_not_asked_again(world: World, receiver: Receiver) -> None:
    await world.hook(receiver)
    await world.commit(1, 2)
    receiver.answers = [410]
    async with world.relaying(await world.lead("a")) as relay:

        async def disabled() -> bool:
            return not (await world.webhook()).active

        await eventually(disabled)
    assert (len(receiver.tries), relay.disabled) == (1, 1)


async def test_private_address_is_not_asked_however_it_came_into_the_table(
    world: World, receiver: Receiver
) -> None:
    urls = {
        "literal": receiver.url.replace("http:", "https:"),
        "name": receiver.url.replace("http://127.0.0.1", "https://localhost"),
        "plain": receiver.url,
    }
    for id, url in urls.items():
        receiver.url = url
        await world.hook(receiver, id)
    await world.commit(1)
    async with world.relaying(await world.lead("a"), private=False):
        for id in urls:

            async def tried(id: str = id) -> bool:
                return bool(await world.records.deliveries(id, 2**62, 1))

            await eventually(tried)
    errors = {id: (await world.records.deliveries(id, 2**62, 1))[0].error for id in urls}
    assert errors == {
        "literal": "url: 127.0.0.1 is not an address of the public internet",
        "name": "localhost is not an address of the public internet",
        "plain": "url: it must begin with https://",
    }
    assert receiver.tries == []


async def test_outbox_keeps_what_an_active_webhook_has_not_been_told(
    world: World, receiver: Receiver
) -> None:
    await world.commit(1, 2)
    await world.hook(receiver)
    await world.commit(3, 4, 5)
    await world.pool.execute("UPDATE outbox SET at = now() - interval '9 days'")
    assert await world.outbox.prune(timedelta(days=7)) == 2
    async with world.relaying(await world.lead("a")):
        await eventually(got(receiver, 3), what="all of it told")

        async def pruned() -> bool:
            await world.outbox.prune(timedelta(days=7))
            return (await world.outbox.after(0, 10)).missing

        await eventually(pruned)


async def test_webhook_that_slept_longer_than_the_outbox_keeps_is_told_to_read_anew(
    world: World, receiver: Receiver
) -> None:
    await world.hook(receiver)
    await world.commit(1, 2, 3)
    await world.pool.execute("DELETE FROM outbox WHERE position < 3")
    async with world.relaying(await world.lead("a")):
        await eventually(got(receiver, 1), what="the reset")
        await world.commit(4)
        await eventually(got(receiver, 2), what="what came after it")
    (_, reset), (_, change) = receiver.got
    assert (reset["type"], reset["data"]) == ("changes.reset", {"position": 3})
    assert (change["type"], change["data"]["version"]) == ("bot.changed", 4)
