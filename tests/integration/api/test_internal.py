"""The route between servers: no user's token opens it, and it never forwards."""

from __future__ import annotations

import httpx
import pytest

from src.api.auth.principals import Role
from src.api.lifespan import internal_secret
from src.swarm.forwarding import encode_forwarded
from src.swarm.internal_tokens import InternalTokens
from src.swarm.shapes.commands import PostMessage, Speaker
from tests.integration.api.begun import begin
from tests.support.api import SECRET, RunningServer, bearer

pytestmark = pytest.mark.directly("nginx shuts the routes between servers to all")


COMMANDS = "/internal/v1/conversations/c-1/commands"
SAID = encode_forwarded(
    PostMessage(Speaker("person", "zoe"), "hello"),
    key="k-1",
    actor="zoe",
    if_version=None,
    durability=None,
    create=False,
)


def signed() -> dict[str, str]:
    return {"Authorization": f"Bearer {InternalTokens(internal_secret(SECRET)).sign()}"}


async def test_a_users_token_opens_nothing_here(alone: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=alone.url) as client:
        answers = [
            await client.post(COMMANDS, content=SAID, headers=headers)
            for headers in ({}, bearer("root", Role.ADMIN), {"Authorization": "Bearer forged"})
        ]

    assert [answer.status_code for answer in answers] == [401, 401, 401]


async def test_the_owner_takes_a_command_and_others_name_the_owner(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("zoe") as zoe, httpx.AsyncClient() as client:
        await begin(zoe)
        owner = (await zoe.get("/status", headers=bearer("root", Role.ADMIN))).json()["server_id"]
        taken = await client.post(one.url + COMMANDS, content=SAID, headers=signed())
        misled = await client.post(two.url + COMMANDS, content=SAID, headers=signed())

    assert taken.status_code == 200
    assert taken.json()["durability"] == "logged"
    assert taken.json()["version"]["seq"] == 2
    assert misled.status_code == 421
    assert (misled.json()["code"], misled.json()["owner"]) == ("not_owner", owner)


GIVE = "/internal/v1/conversations/c-1/give"
GIVEN = "/internal/v1/given"


async def test_a_users_token_moves_no_conversation(alone: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=alone.url) as client:
        answers = [
            await client.post(path, content=b"{}", headers=headers)
            for path in (GIVE, GIVEN)
            for headers in ({}, bearer("root", Role.ADMIN), {"Authorization": "Bearer forged"})
        ]

    assert [answer.status_code for answer in answers] == [401] * 6


async def test_a_conversation_goes_to_the_server_that_hosts_its_room(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("zoe") as zoe, httpx.AsyncClient(headers=signed()) as client:
        await begin(zoe)
        path = f"{two.url}/status"
        other = (await client.get(path, headers=bearer("root", Role.ADMIN))).json()["server_id"]
        asked = {"to": other}
        misled = await client.post(two.url + GIVE, json=asked)
        unknown = await client.post(one.url + GIVE, json={"to": "srv-nobody"})
        given = await client.post(one.url + GIVE, json=asked)
        taken = await client.post(two.url + GIVEN, json={"ids": ["c-1"]})
        said = await client.post(two.url + COMMANDS, content=SAID)
        late = await client.post(one.url + COMMANDS, content=SAID)

    assert misled.status_code == 421
    assert (unknown.status_code, unknown.json()["code"]) == (503, "ownership_unknown")
    assert given.status_code == 200
    assert (taken.status_code, taken.json()) == (200, {"taken": 1})
    assert (said.status_code, said.json()["version"]["seq"]) == (200, 2)
    assert (late.status_code, late.json()["owner"]) == (421, other)


async def test_a_body_that_names_nothing_moves_nothing(alone: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=alone.url, headers=signed()) as client:
        answers = [
            await client.post(path, content=body)
            for path, bodies in (
                (GIVE, (b"", b"[]", b"{}", b'{"to": 1}')),
                (GIVEN, (b"", b"{}", b'{"ids": "c-1"}', b'{"ids": [1]}')),
            )
            for body in bodies
        ]

    assert [answer.status_code for answer in answers] == [422] * 8


async def test_a_body_that_is_no_command_is_refused(alone: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=alone.url, headers=signed()) as client:
        answers = [
            await client.post(COMMANDS, content=body)
            for body in (b"", b"[]", b"{}", SAID.replace(b"post_message", b"nonsense"))
        ]

    assert [answer.status_code for answer in answers] == [422] * 4
