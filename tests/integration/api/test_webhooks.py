"""Webhooks over HTTP: from the subscription to the signed message."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from src.api.auth.principals import Role
from tests.integration.swarm.test_webhooks import Receiver, receiving
from tests.support.api import RunningServer, running_server
from tests.support.cluster_settings import eventually

HOOKS = "/api/v1/webhooks"
HOOK = f"{HOOKS}/w"


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Receivers of a test are on loopback."""
    monkeypatch.setenv("SWARMSTATE_WEBHOOK_PRIVATE_ADDRESSES", "true")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


async def test_what_is_committed_on_one_server_arrives_signed_and_is_in_the_log(
    pair: tuple[RunningServer, RunningServer], receiver: Receiver
) -> None:
    async with pair[0].as_("ed", Role.EDITOR) as here, pair[1].as_("ed", Role.EDITOR) as there:
        body = {"id": "w", "url": receiver.url, "kinds": ["bot"]}
        made = await here.post(HOOKS, json=body)
        receiver.secret = base64.b64decode(made.json()["secret"].removeprefix("whsec_"))
        await there.post("/api/v1/teams", json={"id": "crew", "name": "Crew"})
        await there.post("/api/v1/bots", json={"id": "ada", "name": "Ada"})
        await eventually(lambda: len(receiver.got) == 1, what="the message")

        async def noted() -> bool:
            found = (await there.get(f"{HOOK}/deliveries")).json()["deliveries"]
            return [one["status"] for one in found] == ["delivered"]

        await eventually(noted)
        read = await there.get(HOOK)

    assert made.status_code == 201
    assert (made.headers["location"], made.headers["etag"]) == (HOOK, '"1"')
    _, payload = receiver.got[0]
    assert (payload["type"], payload["data"]["id"]) == ("bot.changed", "ada")
    assert "secret" not in read.text
    assert read.json()["active"] is True


@pytest.mark.directly("one of its servers goes")
async def test_server_that_sends_may_go_and_another_one_goes_on(
    database_url: str, redis_url: str, receiver: Receiver
) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running_server(database_url, redis_url))
        async with one.as_("ed", Role.EDITOR) as ed:
            made = await ed.post(HOOKS, json={"id": "w", "url": receiver.url})
            receiver.secret = base64.b64decode(made.json()["secret"].removeprefix("whsec_"))
            await ed.post("/api/v1/bots", json={"id": "ada", "name": "Ada"})
            await eventually(lambda: len(receiver.got) == 1, what="told by the first server")
        async with running_server(database_url, redis_url) as two, two.as_("ed", Role.EDITOR) as ed:
            await stack.aclose()
            await ed.patch("/api/v1/bots/ada", json={"name": "Ada L."})
            await eventually(lambda: len(receiver.got) == 2, what="told by the second server")

    assert receiver.versions == [1, 2]


async def test_subscription_lives_through_its_versions(
    server: RunningServer, receiver: Receiver
) -> None:
    async with server.as_("ed", Role.EDITOR) as ed:
        made = await ed.post(HOOKS, json={"id": "w", "url": receiver.url, "active": False})
        again = await ed.post(HOOKS, json={"id": "w", "url": receiver.url})
        changed = await ed.patch(HOOK, json={"ids": ["ada"]}, headers={"If-Match": '"1"'})
        stale = await ed.patch(HOOK, json={"ids": []}, headers={"If-Match": '"1"'})
        rotated = await ed.post(f"{HOOK}/rotate")
        listed = await ed.get(HOOKS, params={"limit": 1})
        receiver.secret = base64.b64decode(made.json()["secret"].removeprefix("whsec_"))
        tested = await ed.post(f"{HOOK}/test")
        receiver.answers = [500]
        failed = await ed.post(f"{HOOK}/test")
        log = (await ed.get(f"{HOOK}/deliveries")).json()["deliveries"]
        refused = await ed.delete(HOOK, headers={"If-Match": '"1"'})
        deleted = await ed.delete(HOOK, headers={"If-Match": '"3"'})
        gone = [await ed.get(HOOK), await ed.post(f"{HOOK}/test"), await ed.delete(HOOK)]

    assert (again.status_code, again.json()["code"]) == (409, "exists")
    assert (changed.json()["version"], changed.json()["ids"]) == (2, ["ada"])
    assert (stale.status_code, refused.status_code, deleted.status_code) == (412, 412, 204)
    assert rotated.json()["secret"] != made.json()["secret"]
    assert [one["id"] for one in listed.json()["webhooks"]] == ["w"]
    # Signed by the secret from before the rotation too.
    assert (tested.json()["delivered"], tested.json()["http_status"]) == (True, 204)
    assert (failed.json()["delivered"], failed.json()["error"]) == (False, "answered 500")
    assert [one["type"] for one in log] == ["webhook.test"] * 2
    assert log[1]["message_id"] == tested.json()["message_id"] == receiver.got[0][0]
    assert [one.status_code for one in gone] == [404] * 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, None),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "https://example.com", "kinds": ["planet"]}, "kinds[0]"),
        ({"url": "https://example.com", "ids": ["a b"]}, "ids[0]"),
        ({"url": "https://example.com", "secret": "mine"}, None),
        ({"url": "https://example.com", "id": "a b"}, "id"),
    ],
)
async def test_what_is_wrong_is_named(
    server: RunningServer, body: dict[str, Any], field: str | None
) -> None:
    async with server.as_("ed", Role.EDITOR) as ed:
        answer = await ed.post(HOOKS, json=body)
    assert answer.status_code == 422, answer.text
    assert field is None or json.loads(answer.text)["errors"][0]["field"] == field


@pytest.mark.directly("its server has settings of its own")
async def test_private_addresses_are_refused_unless_a_setting_allows_them(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWARMSTATE_WEBHOOK_PRIVATE_ADDRESSES")
    async with (
        running_server(database_url, redis_url) as server,
        server.as_("ed", Role.EDITOR) as ed,
    ):
        answers = [
            await ed.post(HOOKS, json={"url": url})
            for url in ("http://example.com", "https://127.0.0.1", "https://10.1.1.1:8080/x")
        ]
    found = [(one.status_code, one.json()["code"]) for one in answers]
    assert found == [(409, "address_not_allowed")] * 3
