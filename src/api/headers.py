"""Names of headers, and the lists of them that answers carry. Hot and cold routes share these."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterable
from typing import Any

from src.state.models import Durability, Entry, Version, Where

Headers = list[tuple[bytes, bytes]]

REQUEST_ID = b"x-request-id"
VERSION = b"x-swarm-version"
TIER = b"x-swarm-tier"
FRESHNESS = b"x-swarm-freshness"
PENDING = b"x-swarm-pending"
FRESH = b"fresh"

SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'self'"),
]
"""On every answer."""
SECURITY_TLS: Headers = [
    *SECURITY,
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
]
"""On every answer to somebody who came by TLS, by way of a trusted proxy."""
PAGES = ("/docs", "/redoc", "/docs/oauth2-redirect")
"""What people look at in development; it is made of scripts from elsewhere."""
_PAGE_SOURCES = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    b"font-src https://fonts.gstatic.com; worker-src blob:; frame-ancestors 'self'; "
    b"img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly"
)
PAGE_POLICY = (b"content-security-policy", _PAGE_SOURCES)
NOT_STORED = (b"cache-control", b"no-store")
"""On every answer that does not say itself how it may be kept."""
_TLS = ("https", "wss")

_CACHING = (b"cache-control", b"private, no-cache")
_JSON = (b"content-type", b"application/json")
_TIERS = {where: where.value.encode() for where in Where}
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:@-]{1,128}")
_process = secrets.token_hex(6)
_numbers = itertools.count(1)


def security(scheme: str | None) -> Headers:
    """Return the security headers of an answer."""
    return SECURITY_TLS if scheme in _TLS else SECURITY


def of_page(path: str, scheme: str | None) -> Headers:
    """Return the same; the pages for people may load their scripts."""
    plain = security(scheme)
    if path not in PAGES:
        return plain
    return [PAGE_POLICY, *(one for one in plain if one[0] != PAGE_POLICY[0])]


def request_id(given: bytes | None) -> bytes:
    """Return the client's request id if it is one, else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return b"%s-%x" % (_process.encode(), next(_numbers))


def freshness(stale_s: float | None) -> bytes:
    """Return `fresh`, or `stale; age=<seconds>`."""
    return FRESH if stale_s is None else b"stale; age=%.1f" % stale_s


def of_state(entry: Entry[Any], where: Where, stale_s: float | None, length: int | None) -> Headers:
    """Return the headers of a conversation's state; `length` in bytes, None for a 304."""
    token = entry.version.token.encode()
    headers = [
        (b"etag", entry.etag.encode() if entry.ahead else b'"%s"' % token),
        (VERSION, token),
        (TIER, _TIERS[where]),
        (FRESHNESS, FRESH if stale_s is None else freshness(stale_s)),
        _CACHING,
    ]
    if length is not None:
        headers.append(_JSON)
        headers.append((b"content-length", b"%d" % length))
    return headers


def of_pending(turns: int) -> Headers:
    """Return the headers that say how many turns the state does not have yet."""
    return [(PENDING, b"%d" % turns)] if turns else []


def of_write(version: Version, durability: Durability) -> dict[str, str]:
    """Return the headers of an acknowledged write."""
    return {"X-Swarm-Version": version.token, "X-Swarm-Durability": durability.value}


def matches(if_none_match: str, etag: str) -> bool:
    """Compare weakly, as RFC 9110 (section 13.1.2) says."""
    given = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return "*" in given or etag in given


def find(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the first value of a header; `name` in lower case."""
    for known, value in headers:
        if known == name:
            return value
    return None
