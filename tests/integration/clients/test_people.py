"""People through the client: they register, log in, are renewed, and are sent away."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from swarmstate_client import Client, Forbidden, Login, Unauthorized

from tests.integration.clients.conftest import PATIENCE

PASSWORD = "correct horse battery"


async def test_a_login_lets_in_renews_itself_and_ends(swarm: Client, urls: Sequence[str]) -> None:
    registered = await swarm.people.register("zoe@example.org", PASSWORD, "Zoe")
    now = [0.0]
    login = Login("zoe@example.org", PASSWORD, clock=lambda: now[0])
    async with Client(urls, login, patience=PATIENCE) as zoe:
        profile = await zoe.people.profile()
        assert (profile.id, profile.name) == (registered.id, "Zoe")
        assert login._session is not None
        first = login._session.access_token
        now[0] = 1790.0
        edited = await zoe.people.edit_profile({"preferences": {"pace": "slow"}})
        assert edited.preferences == {"pace": "slow"}
        assert login._session.access_token != first
        with pytest.raises(Forbidden):
            await zoe.bots.create({"name": "Ada"})
        # Whoever is logged out elsewhere logs in again by itself; who is disabled does not.
        await swarm.people.edit(registered.id, {"roles": ["member", "editor"]})
        assert (await zoe.bots.create({"name": "Ada"})).version == 1
        await zoe.people.logout()
        assert [person.id async for person in swarm.people.list(email="zoe@example.org")] == [
            registered.id
        ]
        await swarm.people.edit(registered.id, {"status": "disabled"})
        with pytest.raises(Unauthorized):
            await zoe.people.profile()


async def test_a_key_lets_a_service_in_until_it_is_deleted(
    swarm: Client, urls: Sequence[str]
) -> None:
    made = await swarm.people.create_api_key("worker")
    assert made.key not in repr(made)
    async with Client(urls, made.key, patience=PATIENCE) as worker:
        await worker.conversations.create("c-1")
        assert [key.name async for key in swarm.people.api_keys()] == ["worker"]
        await swarm.people.delete_api_key(made.info.id)
        async with Client(urls[0], made.key, patience=PATIENCE) as other:
            with pytest.raises(Unauthorized):
                await other.conversations.get("c-1")


async def test_a_server_says_that_it_is_ready(swarm: Client) -> None:
    assert (await swarm.ready())["status"] == "ready"
    assert "server" in str(await swarm.status())
