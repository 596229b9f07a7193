"""The address of a store: masked for people, and how a library is told of it."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def masked(url: str) -> str:
    """Return the URL without its password, for logs and error messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user = parts.username or ""
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:***@{host}"))


SQLALCHEMY = "postgresql+asyncpg://"
"""The driver that SQLAlchemy is to use; asyncpg itself connects (`async_creator`). SQLAlchemy would
hand `?sslmode=` and its like on as arguments that asyncpg does not have."""
