"""Hot reads: what is answered ahead of the application, and what is left to it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from src.api.auth.door import Door
from src.api.auth.principals import Role
from src.api.auth.tokens import Tokens, issue_token
from src.api.hot_reads import HotReads
from src.api.middleware import Traffic
from src.api.rate_limits import RateLimits
from src.api.settings import ApiSettings
from src.state.models import Entry, Version
from src.swarm.shapes.codec import encode_state
from src.swarm.shapes.models import ConversationState
from tests.unit.api.given import Revoked, entry

SECRET = "a secret of tests, at least thirty-two characters"


class Cache:
    """The calls that a hot read makes of the service, over one entry."""

    def __init__(self, held: Entry[ConversationState] | None, pending: int) -> None:
        self._held = held
        self._pending = pending

    def peek(self, id: str) -> Entry[ConversationState] | None:
        return self._held if self._held is not None and self._held.id == id else None

    def body(self, held: Entry[ConversationState]) -> bytes:
        return held.body(encode_state)

    def pending(self, id: str) -> int:
        return self._pending


class Asked:
    """One request through the layer; `status` is None when the application got it."""

    def __init__(
        self, held: Entry[ConversationState] | None, subject: str, *roles: Role, pending: int = 0
    ) -> None:
        token = issue_token(SECRET, subject, roles or (Role.MEMBER,)).encode()
        tokens = Tokens(SECRET)
        door = Door(tokens)
        door.remember(b"Bearer " + token, tokens.verify(token))
        self.header = b"Bearer " + token
        self.revoked = Revoked()
        door.open(self.revoked)
        self.traffic = Traffic()
        limits = RateLimits(ApiSettings(jwt_secret=SecretStr(SECRET)))
        self._layer = HotReads(self._application, door, self.traffic, limits)
        self._state = {"service": Cache(held, pending)}
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = b""

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.status = None

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]

    async def _receive(self) -> Any:
        raise AssertionError("a read has no body")

    async def get(self, path: str = "/api/v1/conversations/c-1", **changes: Any) -> Asked:
        given = [(b"host", b"test"), (b"authorization", self.header)]
        scope: Scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": given + changes.pop("extra", []),
            "state": self._state,
            **changes,
        }
        await self._layer(scope, self._receive, self._send)
        return self


async def test_a_hit_is_the_state_with_version_tier_and_freshness() -> None:
    held = entry()

    asked = await Asked(held, "zoe").get()

    assert asked.status == 200
    assert msgspec.json.decode(asked.body, type=ConversationState) == held.state
    assert asked.headers["content-length"] == str(len(asked.body))
    assert asked.headers["etag"] == held.etag == '"1.7"'
    assert asked.headers["x-swarm-version"] == "1.7"
    assert asked.headers["x-swarm-tier"] == "l1"
    assert asked.headers["x-swarm-freshness"] == "fresh"
    assert asked.headers["x-content-type-options"] == "nosniff"
    assert asked.headers["x-request-id"]
    assert asked.traffic.hot_hits == 1


async def test_a_known_version_is_not_sent_again() -> None:
    asked = await Asked(entry(), "zoe").get(extra=[(b"if-none-match", b'"1.7"')])

    assert (asked.status, asked.body) == (304, b"")
    assert asked.headers["etag"] == '"1.7"'
    assert "content-length" not in asked.headers


async def test_buffered_changes_have_an_etag_of_their_own() -> None:
    asked = await Asked(entry(ahead=Version(2, 9)), "zoe").get()

    assert asked.headers["etag"] == '"1.7+2.9"'
    assert asked.headers["x-swarm-version"] == "1.7"


async def test_a_version_that_is_reached_is_answered() -> None:
    asked = await Asked(entry(), "zoe").get(extra=[(b"x-swarm-version", b"1.7")])

    assert asked.status == 200


async def test_a_clients_request_id_comes_back() -> None:
    asked = await Asked(entry(), "zoe").get(extra=[(b"x-request-id", b"trace-7")])

    assert asked.headers["x-request-id"] == "trace-7"


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "DELETE"},
        {"path": "/api/v1/conversations/c-2"},
        {"path": "/api/v1/conversations/c-1/messages"},
        {"path": "/api/v1/conversations"},
        {"query_string": b"x=1"},
        {"headers": []},
        {"headers": [(b"authorization", b"Bearer unseen")]},
        {"extra": [(b"origin", b"https://rooms.example")]},
        {"extra": [(b"if-none-match", b'"1.6"')]},
        {"extra": [(b"if-none-match", b'"1.7", "1.6"')]},
        {"extra": [(b"x-swarm-version", b"1.8")]},
        {"extra": [(b"x-swarm-version", b"soon")]},
        {"state": {}},
        {"type": "websocket"},
    ],
)
async def test_whatever_is_not_plain_is_left_to_the_application(changes: dict[str, Any]) -> None:
    asked = await Asked(entry(), "zoe").get(**changes)

    assert asked.status is None
    assert asked.traffic.hot_hits == 0


async def test_a_miss_and_a_deleted_conversation_are_left_to_the_application() -> None:
    held = entry()
    deleted = msgspec.structs.replace(
        held, state=msgspec.structs.replace(held.state, status="deleted")
    )

    assert (await Asked(None, "zoe").get()).status is None
    assert (await Asked(deleted, "zoe").get()).status is None


async def test_state_that_lacks_pending_turns_is_left_to_the_application_to_label() -> None:
    assert (await Asked(entry(), "zoe", pending=1).get()).status is None


async def test_a_revoked_token_and_one_of_which_this_server_cannot_say_get_nothing_from_here() -> (
    None
):
    asked = Asked(entry(), "zoe")
    assert (await asked.get()).status == 200

    asked.revoked.sure = False
    asked.status = None
    assert (await asked.get()).status is None

    asked.revoked.sure = True
    asked.revoked.users["zoe"] = 1 << 40
    assert (await asked.get()).status is None


async def test_who_may_not_read_gets_nothing_from_here() -> None:
    assert (await Asked(entry(), "eve").get()).status is None
    assert (await Asked(entry(), "zoe", Role.EDITOR).get()).status is None
    assert (await Asked(entry(), "eve", Role.VIEWER).get()).status == 200
