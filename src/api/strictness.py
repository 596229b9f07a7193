"""What production does not put up with: settings that work, and that somebody will regret.

Pure: settings in, complaints out, each with the name of its setting. `production` is the only
profile that asks. What is said on purpose is accepted: `?sslmode=disable` is a decision for a
network of one's own, no sslmode at all is none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from urllib.parse import parse_qs, urlsplit

from src.api.settings import ApiSettings
from src.state.settings import StateSettings
from src.swarm.settings import RuntimeSettings

_PACKED_BYTES = 30
"""32 random hexadecimal characters never pack into less than 35; a counted-up alphabet does."""
_GUESSED = ("changeme", "change-me", "change_me", "password", "secret", "example", "swarmstate")
_DECIDED = ("disable", "require", "verify-ca", "verify-full")


class LaxSettings(ValueError):
    """Settings that production refuses; each is named with what to do."""


def check_strict(api: ApiSettings, settings: RuntimeSettings) -> None:
    """Let the server start.

    Raises:
        LaxSettings: the profile is production, and a setting is too lax for it.
    """
    if api.profile == "production":
        found = list(_laxities(api, settings))
        if found:
            raise LaxSettings("SWARMSTATE_PROFILE=production refuses:\n  " + "\n  ".join(found))


def _laxities(api: ApiSettings, settings: RuntimeSettings) -> Iterator[str]:
    jwt_secret = api.jwt_secret.get_secret_value()
    internal = settings.swarm.internal_secret.get_secret_value()
    livekit = settings.livekit.api_secret
    for name, value in (
        ("SWARMSTATE_API_JWT_SECRET", jwt_secret),
        ("SWARMSTATE_INTERNAL_SECRET", internal),
        ("SWARMSTATE_LIVEKIT_API_SECRET", None if livekit is None else livekit.get_secret_value()),
    ):
        if value is None:
            continue
        why = weakness(value)
        if why is not None:
            yield f"{name}: {why}; make one with `openssl rand -hex 32`"
    if jwt_secret == internal:
        yield "SWARMSTATE_INTERNAL_SECRET: it is the users' secret too; give it one of its own"
    if livekit is not None and livekit.get_secret_value() in (jwt_secret, internal):
        yield "SWARMSTATE_LIVEKIT_API_SECRET: it is a secret of our own too; LiveKit needs another"
    shown = urlsplit(settings.livekit.shown_url)
    if shown.scheme == "ws" and not _stays_here(shown.hostname):
        yield (
            "SWARMSTATE_LIVEKIT_CLIENT_URL: browsers open no microphone without TLS; set it to "
            "where they reach LiveKit by wss://"
        )
    if any(ip_network(one).prefixlen == 0 for one in api.trusted_proxies):
        yield "SWARMSTATE_API_TRUSTED_PROXIES: everybody is a proxy there; name the networks"
    yield from _lax_stores(settings.state)


def _lax_stores(state: StateSettings) -> Iterator[str]:
    redis = urlsplit(state.redis_url.get_secret_value())
    if redis.scheme == "redis" and not redis.password:
        yield "SWARMSTATE_REDIS_URL: it has no password; set one, or use rediss://"
    direct = state.database_direct_url
    for name, url in (
        ("SWARMSTATE_DATABASE_URL", state.database_url.get_secret_value()),
        ("SWARMSTATE_DATABASE_DIRECT_URL", None if direct is None else direct.get_secret_value()),
    ):
        if url is not None and not _says_how(url):
            yield (
                f"{name}: it leaves open whether TLS is used; end it with ?sslmode=verify-full, or "
                "with ?sslmode=disable on a network that is yours alone"
            )


def _says_how(url: str) -> bool:
    parts = urlsplit(url)
    mode = parse_qs(parts.query).get("sslmode", [""])[-1]
    return mode in _DECIDED or _stays_here(parts.hostname)


def _stays_here(host: str | None) -> bool:
    if host is None or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def weakness(secret: str) -> str | None:
    """Return why a secret is easily guessed; None: it is not.

    What repeats itself can be packed into little; chance cannot.
    """
    word = next((one for one in _GUESSED if one in secret.lower()), None)
    if word is not None:
        return f"it holds the word {word!r}"
    packed = len(zlib.compress(secret.encode(), 9))
    return None if packed >= _PACKED_BYTES else "it has too little chance in it"
