"""People on two servers: coming in, staying, going, and what an administrator may do about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from redis import Redis

from src.api.auth.principals import Role
from src.state.records.people import open_people
from tests.integration.api.begun import begin
from tests.support.api import RunningServer, running_server
from tests.support.cluster_settings import eventually
from tests.support.listening import listening
from tests.support.postgres_proxy import PostgresProxy
from tests.support.proxies import open_proxy

Pair = tuple[RunningServer, RunningServer]

PASSWORD = "correct horse battery"
ZOE = {"email": "Zoe@Example.org", "password": PASSWORD}
PROFILE = "/api/v1/profile"


def anybody(server: RunningServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=20)


async def posted(server: RunningServer, path: str, body: Any) -> httpx.Response:
    async with anybody(server) as http:
        return await http.post(f"/api/v1/auth/{path}", json=body)


async def logged_in(server: RunningServer, given: dict[str, str] = ZOE) -> dict[str, Any]:
    answer = await posted(server, "login", given)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def registered(server: RunningServer) -> dict[str, Any]:
    answer = await posted(server, "register", {**ZOE, "name": "Zoe"})
    assert answer.status_code == 201, answer.text
    return await logged_in(server)


async def asks(server: RunningServer, token: str, path: str = PROFILE) -> int:
    async with anybody(server) as http:
        return (await http.get(path, headers={"Authorization": f"Bearer {token}"})).status_code


async def logs_out(server: RunningServer, token: str, body: Any = None) -> None:
    async with anybody(server) as http:
        headers = {"Authorization": f"Bearer {token}"}
        answer = await http.post("/api/v1/auth/logout", headers=headers, json=body)
    assert answer.status_code == 204, answer.text


async def refused_on(server: RunningServer, token: str, path: str = PROFILE) -> None:
    async def refused() -> bool:
        return await asks(server, token, path) == 401

    await eventually(refused, what="the token is refused")


async def test_who_registers_is_a_member_and_may_begin_to_talk(server: RunningServer) -> None:
    answer = await posted(server, "register", {**ZOE, "name": "Zoe"})

    assert answer.status_code == 201
    zoe = answer.json()
    assert (zoe["email"], zoe["roles"], zoe["status"]) == ("zoe@example.org", ["member"], "active")

    login = await posted(server, "login", {**ZOE, "email": "ZOE@example.ORG"})
    assert login.headers["cache-control"] == "no-store"
    found = login.json()
    assert (found["token_type"], found["expires_in"]) == ("Bearer", 1800)
    assert found["user"] == {
        "id": zoe["id"],
        "email": "zoe@example.org",
        "name": "Zoe",
        "roles": ["member"],
        "version": 1,
        "preferences": {},
        "learning_progress": {},
    }
    headers = {"Authorization": f"Bearer {found['access_token']}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20) as http:
        await begin(http)
        assert (await http.get("/api/v1/conversations/c-1")).json()["created_by"] == zoe["id"]


async def test_an_email_is_one_user_whatever_its_case(server: RunningServer) -> None:
    await registered(server)

    again = await posted(server, "register", {**ZOE, "email": "zoe@EXAMPLE.org"})

    assert (again.status_code, again.json()["code"]) == (409, "exists")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "zoe"}, "email"),
        ({"email": "zoe@example.org\n"}, "email"),
        ({"password": "eleven char"}, "password"),
        ({"password": "p" * 257}, "password"),
        ({"password": None}, "password"),
        ({"roles": ["admin"]}, "roles"),
        ({"name": "n" * 201}, "name"),
    ],
)
async def test_registration_that_is_not_in_order_names_the_field(
    server: RunningServer, changes: dict[str, Any], field: str
) -> None:
    answer = await posted(server, "register", {**ZOE, **changes})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.directly("its server has settings of its own")
async def test_closed_registration_lets_administrators_make_users_alone(
    database_url: str, redis_url: str
) -> None:
    async with running_server(database_url, redis_url, registration="closed") as server:
        assert (await posted(server, "register", ZOE)).status_code == 403
        async with server.as_("root", Role.ADMIN) as root:
            made = await root.post("/api/v1/users", json={**ZOE, "roles": ["editor"]})
        assert made.status_code == 201
        assert (await logged_in(server))["user"]["roles"] == ["editor"]


async def test_a_login_that_fails_does_not_tell_what_was_wrong(server: RunningServer) -> None:
    await registered(server)

    wrong = await posted(server, "login", {**ZOE, "password": "correct horse batters"})
    nobody = await posted(server, "login", {**ZOE, "email": "nobody@example.org"})

    assert wrong.status_code == nobody.status_code == 401
    assert wrong.json()["detail"] == nobody.json()["detail"]


async def test_the_database_keeps_neither_password_nor_refresh_token(
    server: RunningServer, database_url: str
) -> None:
    found = await registered(server)

    connection = await asyncpg.connect(database_url)
    try:
        rows = [
            str(dict(row))
            for table in ("users", "refresh_tokens")
            for row in await connection.fetch(f"SELECT * FROM {table}")
        ]
    finally:
        await connection.close()

    assert len(rows) == 2
    for row in rows:
        assert PASSWORD not in row
        assert found["refresh_token"] not in row


async def test_a_profile_is_patched_from_version_to_version(pair: Pair) -> None:
    token = (await registered(pair[0]))["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=pair[1].url, headers=headers, timeout=20) as http:
        first = await http.patch(
            PROFILE, json={"preferences": {"pace": "slow", "voice": "low"}, "name": "Zoë"}
        )
        second = await http.patch(
            PROFILE,
            json={"preferences": {"voice": None}, "learning_progress": {"fractions": 0.5}},
            headers={"If-Match": first.headers["etag"]},
        )
        late = await http.patch(PROFILE, json={"name": ""}, headers={"If-Match": '"1"'})
        unknown = await http.patch(PROFILE, json={"roles": ["admin"]})
        too_large = await http.patch(PROFILE, json={"preferences": {"a": "x" * 17_000}})
        shown = (await http.get(PROFILE)).json()

    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    assert (late.status_code, unknown.status_code, too_large.status_code) == (412, 422, 422)
    assert too_large.json()["errors"][0]["field"] == "preferences"
    assert second.json() == shown
    assert (shown["name"], shown["preferences"], shown["learning_progress"], shown["version"]) == (
        "Zoë",
        {"pace": "slow"},
        {"fractions": 0.5},
        3,
    )


async def test_who_comes_by_a_token_alone_has_a_profile_too(server: RunningServer) -> None:
    async with server.as_("worker-7", Role.SERVICE) as worker:
        blank = (await worker.get(PROFILE)).json()
        kept = (await worker.patch(PROFILE, json={"name": "Worker"})).json()

    assert (blank["id"], blank["roles"], blank["version"]) == ("worker-7", ["service"], 0)
    assert (kept["name"], kept["version"]) == ("Worker", 1)


async def test_a_refresh_token_is_good_once_and_stays_in_its_session(pair: Pair) -> None:
    found = await registered(pair[0])

    answer = await posted(pair[1], "refresh", {"refresh_token": found["refresh_token"]})

    assert answer.headers["cache-control"] == "no-store"
    following = answer.json()
    assert following["refresh_token"] != found["refresh_token"]
    assert await asks(pair[0], following["access_token"]) == 200
    # The answer may have been lost on the way: at once, it may come again.
    again = await posted(pair[0], "refresh", {"refresh_token": found["refresh_token"]})
    assert again.status_code == 200


async def test_a_refresh_token_that_comes_back_late_ends_its_session_everywhere(
    pair: Pair, database_url: str
) -> None:
    found = await registered(pair[0])
    other = await logged_in(pair[0])
    stolen = {"refresh_token": found["refresh_token"]}
    following = (await posted(pair[1], "refresh", stolen)).json()
    assert await asks(pair[1], following["access_token"]) == 200
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "UPDATE refresh_tokens SET replaced_at = replaced_at - interval '1 minute'"
    )
    await connection.close()

    assert (await posted(pair[0], "refresh", stolen)).status_code == 401

    mine = {"refresh_token": following["refresh_token"]}
    assert (await posted(pair[1], "refresh", mine)).status_code == 401
    for server in pair:
        await refused_on(server, following["access_token"])
        await refused_on(server, found["access_token"])
        assert await asks(server, other["access_token"]) == 200


@pytest.mark.parametrize("token", ["", "ssr_nobody", "x" * 256])
async def test_any_other_refresh_token_is_refused(server: RunningServer, token: str) -> None:
    assert (await posted(server, "refresh", {"refresh_token": token})).status_code == 401


async def test_logout_on_one_server_is_refused_on_the_other_and_stays_so_without_redis(
    pair: Pair, redis_url: str
) -> None:
    found, other = await registered(pair[0]), await logged_in(pair[1])
    token = found["access_token"]
    for server in pair:
        assert await asks(server, token) == 200

    await logs_out(pair[0], token)

    assert await asks(pair[0], token) == 401
    await refused_on(pair[1], token)
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
    for server in pair:
        assert await asks(server, token) == 401
        assert await asks(server, other["access_token"]) == 200
    refresh = await posted(pair[1], "refresh", {"refresh_token": found["refresh_token"]})
    assert refresh.status_code == 401


async def test_a_server_that_starts_later_knows_who_logged_out(
    server: RunningServer, database_url: str, redis_url: str
) -> None:
    token = (await registered(server))["access_token"]
    await logs_out(server, token)

    async with running_server(database_url, redis_url) as later:
        assert await asks(later, token) == 401


async def test_hot_reads_too_refuse_who_logged_out(pair: Pair) -> None:
    found = await registered(pair[0])
    token, room = found["access_token"], "/api/v1/conversations/c-1"
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=pair[0].url, headers=headers, timeout=20) as http:
        await begin(http)
    for server in pair:
        for _ in range(2):
            assert await asks(server, token, room) == 200

    await logs_out(pair[1], token)

    for server in pair:
        await refused_on(server, token, room)


async def test_logout_everywhere_ends_all_that_was_begun_so_far(pair: Pair) -> None:
    first = await registered(pair[0])
    second = await logged_in(pair[1])

    await logs_out(pair[0], first["access_token"], {"everywhere": True})

    for server in pair:
        await refused_on(server, first["access_token"])
        await refused_on(server, second["access_token"])
    refresh = await posted(pair[1], "refresh", {"refresh_token": second["refresh_token"]})
    assert refresh.status_code == 401
    third = await logged_in(pair[1])
    for server in pair:
        assert await asks(server, third["access_token"]) == 200


async def test_a_token_without_a_login_can_be_logged_out_too(pair: Pair) -> None:
    async with pair[0].as_("cleo") as cleo:
        header = cleo.headers["authorization"]
        assert (await cleo.post("/api/v1/auth/logout")).status_code == 204
        assert (await cleo.get(PROFILE)).status_code == 401

    await refused_on(pair[1], header.removeprefix("Bearer "))


async def test_a_stream_ends_when_its_caller_logs_out_elsewhere(pair: Pair) -> None:
    token = (await registered(pair[0]))["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=pair[0].url, headers=headers, timeout=20) as http:
        await begin(http)
        async with http.stream("GET", "/api/v1/conversations/c-1/stream?after=0") as stream:
            lines = stream.aiter_lines()
            while "event: created" not in await anext(lines):
                pass

            await logs_out(pair[1], token)

            # To the end, which would not come before the test's patience does.
            assert "message_added" not in "".join([line async for line in lines])


async def test_who_is_disabled_is_out_at_once_and_comes_in_no_more(pair: Pair) -> None:
    found = await registered(pair[0])
    user = f"/api/v1/users/{found['user']['id']}"
    async with pair[0].as_("root", Role.ADMIN) as root:
        shown = await root.get(user)
        changed = await root.patch(
            user, json={"status": "disabled"}, headers={"If-Match": shown.headers["etag"]}
        )
        assert (changed.status_code, changed.json()["status"]) == (200, "disabled")

        for server in pair:
            await refused_on(server, found["access_token"])
        assert (await posted(pair[1], "login", ZOE)).status_code == 401
        refresh = {"refresh_token": found["refresh_token"]}
        assert (await posted(pair[1], "refresh", refresh)).status_code == 401

        assert (await root.patch(user, json={"status": "active"})).status_code == 200
    again = await logged_in(pair[1])
    for server in pair:
        assert await asks(server, again["access_token"]) == 200


async def test_other_roles_need_a_new_login_and_another_name_does_not(pair: Pair) -> None:
    found = await registered(pair[0])
    user = f"/api/v1/users/{found['user']['id']}"
    async with pair[0].as_("root", Role.ADMIN) as root:
        assert (await root.patch(user, json={"name": "Z."})).status_code == 200
        assert await asks(pair[1], found["access_token"]) == 200

        changed = await root.patch(user, json={"roles": ["member", "editor"]})

    assert changed.json()["roles"] == ["member", "editor"]
    await refused_on(pair[1], found["access_token"])
    again = await logged_in(pair[1])
    assert await asks(pair[1], again["access_token"], "/api/v1/bots") == 200


async def test_who_is_deleted_is_forgotten_and_the_email_is_free(pair: Pair) -> None:
    found = await registered(pair[0])
    user = f"/api/v1/users/{found['user']['id']}"
    async with pair[0].as_("root", Role.ADMIN) as root:
        assert (await root.delete(user)).status_code == 204
        assert (await root.get(user)).status_code == 404
        assert (await root.delete(user)).status_code == 404
        assert (await root.get("/api/v1/users")).json()["users"] == []

    await refused_on(pair[1], found["access_token"])
    assert (await registered(pair[1]))["user"]["id"] != found["user"]["id"]


async def test_administrators_cannot_lock_themselves_out(server: RunningServer) -> None:
    async with server.as_("root", Role.ADMIN) as root:
        await root.patch(PROFILE, json={"name": "Root"})
        for body in ({"status": "disabled"}, {"roles": ["member"]}):
            refused = await root.patch("/api/v1/users/root", json=body)
            assert (refused.status_code, refused.json()["code"]) == (409, "yourself")
        assert (await root.delete("/api/v1/users/root")).status_code == 409


async def test_users_are_listed_page_by_page_and_found_by_email(server: RunningServer) -> None:
    async with server.as_("root", Role.ADMIN) as root:
        for number in range(3):
            body = {"email": f"user-{number}@example.org"}
            assert (await root.post("/api/v1/users", json=body)).status_code == 201
        first = (await root.get("/api/v1/users?limit=2")).json()
        rest = (await root.get(f"/api/v1/users?limit=2&cursor={first['next_cursor']}")).json()
        found = (await root.get("/api/v1/users?email=USER-1@example.org")).json()

    emails = [user["email"] for user in (*first["users"], *rest["users"])]
    assert emails == [f"user-{number}@example.org" for number in range(3)]
    assert (rest["next_cursor"], [user["email"] for user in found["users"]]) == (
        None,
        ["user-1@example.org"],
    )


async def made_key(server: RunningServer, **given: Any) -> dict[str, Any]:
    async with server.as_("root", Role.ADMIN) as root:
        answer = await root.post("/api/v1/api-keys", json={"name": "worker", **given})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


async def test_a_key_is_a_caller_of_its_name_and_roles_and_is_shown_once(
    pair: Pair, database_url: str
) -> None:
    made = await made_key(pair[0], roles=["service", "viewer", "service"])
    key, info = made["key"], made["info"]

    assert key.startswith("ssk_")
    assert info["masked"] == f"ssk_...{key[-4:]}"
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=pair[1].url, headers=headers, timeout=20) as http:
        oneself = (await http.get(PROFILE)).json()
        assert (oneself["id"], oneself["roles"]) == ("worker", ["service", "viewer"])
        assert (await http.get("/api/v1/users")).status_code == 403
        refused = await http.post("/api/v1/auth/logout")
        assert (refused.status_code, refused.json()["code"]) == (409, "api_key")
    async with pair[0].as_("root", Role.ADMIN) as root:
        listed = await root.get("/api/v1/api-keys")
    assert listed.json() == {"keys": [info], "next_cursor": None}
    connection = await asyncpg.connect(database_url)
    rows = str([dict(row) for row in await connection.fetch("SELECT * FROM api_keys")])
    await connection.close()
    assert key not in listed.text + rows


async def test_a_deleted_key_is_refused_everywhere_and_stays_so_without_redis(
    pair: Pair, redis_url: str
) -> None:
    made = await made_key(pair[0])
    for server in pair:
        assert await asks(server, made["key"]) == 200

    async with pair[0].as_("root", Role.ADMIN) as root:
        path = f"/api/v1/api-keys/{made['info']['id']}"
        assert (await root.delete(path)).status_code == 204
        assert (await root.delete(path)).status_code == 404

    for server in pair:
        await refused_on(server, made["key"])
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
    for server in pair:
        assert await asks(server, made["key"]) == 401


async def test_a_key_ends_when_it_was_to_end(server: RunningServer, database_url: str) -> None:
    made = await made_key(server, expires_at="2100-01-01T00:00:00Z")
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE api_keys SET expires_at = now() - interval '1 second'")
    await connection.close()

    assert await asks(server, made["key"]) == 401
    async with server.as_("root", Role.ADMIN) as root:
        past = {"name": "worker", "expires_at": "2020-01-01T00:00:00Z"}
        refused = await root.post("/api/v1/api-keys", json=past)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "expires_at")


@pytest.mark.parametrize("key", ["ssk_", "ssk_nobody", "ssk_" + "x" * 500])
async def test_any_other_key_is_refused(server: RunningServer, key: str) -> None:
    assert await asks(server, key) == 401


SIGNER = rsa.generate_private_key(65537, 2048)


@asynccontextmanager
async def identity_provider() -> AsyncIterator[str]:
    """Publish the key; give the address."""
    key = {**RSAAlgorithm.to_jwk(SIGNER.public_key(), as_dict=True), "kid": "1"}

    async def keys(_: web.Request) -> web.Response:
        return web.json_response({"keys": [key]})

    app = web.Application()
    app.router.add_get("/keys", keys)
    async with listening(app) as url:
        yield f"{url}/keys"


def vouched_for(subject: str) -> str:
    now = int(time.time())
    claims = {"sub": subject, "roles": ["member"], "iss": "https://id.example", "aud": "rooms"}
    times = {"iat": now, "exp": now + 60, "jti": str(time.perf_counter())}
    return jwt.encode({**claims, **times}, SIGNER, algorithm="RS256", headers={"kid": "1"})


@pytest.mark.directly("its server has settings of its own")
async def test_whom_an_identity_provider_vouches_for_comes_in_until_shut_out_here(
    database_url: str, redis_url: str
) -> None:
    async with identity_provider() as url:
        given: dict[str, Any] = {"jwks_url": url, "jwks_audience": "rooms"}
        given["jwks_issuer"] = "https://id.example"
        async with running_server(database_url, redis_url, **given) as server:
            one, two = vouched_for("eve"), vouched_for("eve")
            assert await asks(server, one) == await asks(server, two) == 200

            await logs_out(server, one)
            assert (await asks(server, one), await asks(server, two)) == (401, 200)

            async with anybody(server) as eve, server.as_("root", Role.ADMIN) as root:
                headers = {"Authorization": f"Bearer {two}"}
                assert (await eve.patch(PROFILE, json={}, headers=headers)).status_code == 200
                shut = await root.patch("/api/v1/users/eve", json={"status": "disabled"})
                assert shut.status_code == 200
            assert await asks(server, two) == 401
            assert await asks(server, vouched_for("eve")) == 401
            assert await asks(server, vouched_for("ada")) == 200


@pytest.mark.directly("its server has settings of its own")
async def test_whether_somebody_is_shut_out_is_never_guessed_while_postgresql_is_away(
    database_url: str, redis_url: str
) -> None:
    async with identity_provider() as url, open_proxy(PostgresProxy(database_url)) as postgres:
        given: dict[str, Any] = {"jwks_url": url, "jwks_audience": "rooms"}
        given["jwks_issuer"] = "https://id.example"
        async with running_server(postgres.url, redis_url, **given) as server:
            postgres.cut()
            async with anybody(server) as eve:
                headers = {"Authorization": f"Bearer {vouched_for('eve')}"}
                # No member's: 403 would show that eve came in.
                answer = await eve.get("/api/v1/users", headers=headers)
            postgres.restore()

    assert (answer.status_code, answer.json()["code"]) == (503, "read_only")
    assert int(answer.headers["retry-after"]) >= 1


async def test_no_token_of_the_old_roles_slips_past_their_change(pair: Pair) -> None:
    found = await registered(pair[0])
    user = f"/api/v1/users/{found['user']['id']}"
    async with pair[0].as_("root", Role.ADMIN) as root:
        for roles in (["editor"], ["viewer"], ["member"]):
            _, *logins = await asyncio.gather(
                root.patch(user, json={"roles": roles}),
                *(posted(server, "login", ZOE) for server in pair * 2),
            )
            assert (await root.get(user)).json()["roles"] == roles

            for login in logins:
                # A login that the change overtook may be refused.
                assert login.status_code in (200, 401)
                if login.status_code == 200 and login.json()["user"]["roles"] != roles:
                    for server in pair:
                        await refused_on(server, login.json()["access_token"])


async def test_refreshing_and_ending_all_at_once_never_stand_in_each_others_way(
    pair: Pair,
) -> None:
    await registered(pair[0])
    logins = [await logged_in(server) for server in pair * 2]
    first, *rest = logins

    answers = await asyncio.gather(
        *(
            posted(server, "refresh", {"refresh_token": login["refresh_token"]})
            for login in rest
            for server in pair
        ),
        logs_out(pair[0], first["access_token"], {"everywhere": True}),
    )

    refreshed = [one for one in answers if one is not None]
    assert {one.status_code for one in refreshed} <= {200, 401}
    for one in refreshed:
        if one.status_code == 200:
            for server in pair:
                await refused_on(server, one.json()["access_token"])


async def test_refresh_tokens_that_have_expired_are_refused_and_removed(
    server: RunningServer, database_url: str
) -> None:
    found = await registered(server)
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE refresh_tokens SET expires_at = now()")

    late = await posted(server, "refresh", {"refresh_token": found["refresh_token"]})
    async with open_people(database_url) as people:
        await people.purge()

    assert late.status_code == 401
    assert await connection.fetchval("SELECT count(*) FROM refresh_tokens") == 0
    await connection.close()
