"""Production refuses what works and will be regretted, and names the setting."""

from __future__ import annotations

import re
import secrets
from typing import Any

import pytest
from pydantic import SecretStr

from src.api.settings import ApiSettings, Profile
from src.api.strictness import LaxSettings, check_strict, weakness
from src.state.settings import StateSettings
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.settings import RuntimeSettings, SwarmSettings

GOOD = {
    "jwt_secret": "d0a6c1f7b8e94325a7c0d94b6f1e83527a6b0c9d8e7f41235a6b7c8d9e0f1a2b",
    "internal_secret": "7f3b9c2d1e8a4650b7c9d0e1f2a3b4c58d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a",
    "database_url": "postgresql://u:p@db.example.org/s?sslmode=verify-full",
    "redis_url": "redis://:p@redis.example.org:6379/0",
}


LIVEKIT = {
    "url": "wss://rooms.example.org",
    "api_key": "APIabc",
    "api_secret": "c4e1f0a97b3d58264c9e0b1d7f2a6c35e8d4b0a1f3c7925e6d8b0a4f1c3e5972",
}


def check(profile: Profile = "production", **changes: Any) -> None:
    proxies = changes.pop("trusted_proxies", ("10.0.0.0/8",))
    livekit = LiveKitSettings(**changes.pop("livekit", {}))
    given = {name: SecretStr(value) for name, value in {**GOOD, **changes}.items()}
    direct = given.pop("database_direct_url", None)
    api = ApiSettings(profile=profile, jwt_secret=given["jwt_secret"], trusted_proxies=proxies)
    state = StateSettings(
        database_url=given["database_url"],
        redis_url=given["redis_url"],
        database_direct_url=direct,
    )
    swarm = SwarmSettings(internal_secret=given["internal_secret"])
    check_strict(api, RuntimeSettings(state, swarm, livekit))


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"redis_url": "rediss://redis.example.org/0"},
        {"database_url": "postgresql://u:p@db.example.org/s?sslmode=disable"},
        {"database_url": "postgresql://u:p@127.0.0.1/s"},
        {"database_url": "postgresql://u:p@/s?host=/var/run/postgresql"},
        {"livekit": LIVEKIT},
        {"livekit": LIVEKIT | {"url": "ws://127.0.0.1:7880"}},
        {"livekit": LIVEKIT | {"url": "ws://livekit:7880", "client_url": "wss://rooms.example"}},
    ],
)
def test_what_was_decided_is_accepted(good: dict[str, Any]) -> None:
    check(**good)


LAX: list[tuple[dict[str, Any], str]] = [
    ({"livekit": LIVEKIT | {"api_secret": "secret"}}, "SWARMSTATE_LIVEKIT_API_SECRET"),
    ({"livekit": LIVEKIT | {"api_secret": GOOD["jwt_secret"]}}, "SWARMSTATE_LIVEKIT_API_SECRET"),
    ({"livekit": LIVEKIT | {"url": "ws://livekit:7880"}}, "SWARMSTATE_LIVEKIT_CLIENT_URL"),
    ({"jwt_secret": "a" * 64}, "SWARMSTATE_API_JWT_SECRET"),
    ({"jwt_secret": "changeme-" + GOOD["internal_secret"]}, "SWARMSTATE_API_JWT_SECRET"),
    ({"jwt_secret": "0123456789abcdef" * 4}, "SWARMSTATE_API_JWT_SECRET"),
    ({"internal_secret": "0123" * 16}, "SWARMSTATE_INTERNAL_SECRET"),
    ({"internal_secret": GOOD["jwt_secret"]}, "SWARMSTATE_INTERNAL_SECRET"),
    ({"redis_url": "redis://redis.example.org:6379/0"}, "SWARMSTATE_REDIS_URL"),
    ({"database_url": "postgresql://u:p@db.example.org/s"}, "SWARMSTATE_DATABASE_URL"),
    (
        {"database_url": "postgresql://u:p@db.example.org/s?sslmode=prefer"},
        "SWARMSTATE_DATABASE_URL",
    ),
    ({"database_direct_url": "postgresql://u:p@db.org/s"}, "SWARMSTATE_DATABASE_DIRECT_URL"),
    ({"trusted_proxies": ("0.0.0.0/0",)}, "SWARMSTATE_API_TRUSTED_PROXIES"),
]


@pytest.mark.parametrize(("lax", "name"), LAX)
def test_what_is_lax_is_named_in_production_alone(lax: dict[str, Any], name: str) -> None:
    with pytest.raises(LaxSettings, match=f"{name}:") as refused:
        check(**lax)
    assert len(re.findall("SWARMSTATE_\\w+:", str(refused.value))) == 1
    assert not any(str(value) in str(refused.value) for value in GOOD.values())
    check("staging", **lax)


def test_all_that_is_lax_is_named_at_once() -> None:
    with pytest.raises(LaxSettings) as refused:
        check(redis_url="redis://r/0", database_url="postgresql://d/s", jwt_secret="b" * 40)
    assert len(re.findall("SWARMSTATE_\\w+:", str(refused.value))) == 3


def test_chance_is_never_called_weak() -> None:
    made = [secrets.token_hex(16) for _ in range(500)] + [
        secrets.token_urlsafe(24) for _ in range(500)
    ]
    assert [secret for secret in made if weakness(secret) is not None] == []
