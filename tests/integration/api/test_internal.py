"""The route between servers: no user's token opens it, and it never forwards."""

from __future__ import annotations

import httpx

from src.api.auth.principals import Role
from src.api.lifespan import internal_secret
from src.swarm.commands import PostMessage, Speaker
from src.swarm.forwarding import encode_forwarded
from src.swarm.internal_tokens import InternalTokens
from tests.integration.api.begun import begin
from tests.support.api import SECRET, RunningServer, bearer

COMMANDS = "/internal/v1/conversations/c-1/commands"
SAID = encode_forwarded(
    PostMessage(Speaker("person", "zoe"), "hello"),
    key="k-1",
    actor="zoe",
    if_seq=None,
    durability=None,
    create=False,
)


def signed() -> dict[str, str]:
    return {"Authorization": f"Bearer {InternalTokens(internal_secret(SECRET)).sign()}"}


async def test_a_users_token_opens_nothing_here(server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
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


async def test_a_body_that_is_no_command_is_refused(server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=server.url, headers=signed()) as client:
        answers = [
            await client.post(COMMANDS, content=body)
            for body in (b"", b"[]", b"{}", SAID.replace(b"post_message", b"nonsense"))
        ]

    assert [answer.status_code for answer in answers] == [422] * 4
