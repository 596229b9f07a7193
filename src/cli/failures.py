"""What went wrong, as one message for the person at the terminal: what it is, and what to try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import asyncpg
import typer
from pydantic import AliasChoices, ValidationError
from pydantic_settings import BaseSettings, SettingsError
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from src.agents.settings import RoomsSettings
from src.api.serving import CannotListen
from src.api.settings import ApiSettings
from src.api.strictness import LaxSettings
from src.demo.errors import ClusterError
from src.embedded import EmbeddedError
from src.state.errors import MayNotErase, Overloaded, Refused, TierUnavailable
from src.state.records.blobs import BadBlobsUrl
from src.state.records.users import UserExists
from src.state.settings import StateSettings
from src.state.tiers.migrations import HeldUp
from src.state.tiers.urls import masked
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.settings import SwarmSettings

FAILED = 1
_SETTINGS: tuple[type[BaseSettings], ...] = (
    StateSettings,
    SwarmSettings,
    LiveKitSettings,
    RoomsSettings,
    ApiSettings,
)
_OWN = (
    BadBlobsUrl,
    CannotListen,
    ClusterError,
    EmbeddedError,
    HeldUp,
    LaxSettings,
    MayNotErase,
    Overloaded,
    Refused,
    TierUnavailable,
    UserExists,
)
_HINTS = {
    "SWARMSTATE_DATABASE_URL": "set it, or use `swarmstate dev`, which starts its own PostgreSQL",
    "SWARMSTATE_REDIS_URL": "set it, or use `swarmstate dev`, which starts its own Redis",
    "SWARMSTATE_API_JWT_SECRET": "set it to 32 characters or more, the same on all servers",
}


@contextmanager
def explained() -> Iterator[None]:
    """End the process with a message and exit code 1 for what a person can put right.

    Anything else is a defect and keeps its trace.
    """
    try:
        yield
    except ValidationError as error:
        fail("\n".join(bad_settings(error)))
    except SettingsError as error:
        fail(f"a setting cannot be read: {error}")
    except _OWN as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@contextmanager
def reaching(database_url: str) -> Iterator[None]:
    """The same for a database that is spoken to directly."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError, OSError) as error:
        cause = str(error).partition("\n")[0] or type(error).__name__
        fail(
            f"no connection to PostgreSQL at {masked(database_url)}: {cause}. Check that it runs "
            "and that host, port, user, password and database in SWARMSTATE_DATABASE_URL are right"
        )


def check_settings() -> None:
    """Name every setting of a server that is missing or bad, all in one go."""
    lines: list[str] = []
    for settings in _SETTINGS:
        try:
            settings()
        except ValidationError as error:
            lines += bad_settings(error)
    if lines:
        fail("these settings keep the server from starting:\n  " + "\n  ".join(lines))


def fail(message: str) -> NoReturn:
    """Say it on standard error and end the process."""
    Console(stderr=True, soft_wrap=True).print(f"swarmstate: {message}", style="red", markup=False)
    raise typer.Exit(FAILED)


def bad_settings(error: ValidationError) -> list[str]:
    """Return a line per bad setting. The value is left out: it may be a secret."""
    lines = []
    for one in error.errors():
        name = _variable(error.title, str(one["loc"][0])) if one["loc"] else ""
        if one["type"] == "missing":
            lines.append(f"{name} is not set; {_HINTS.get(name, 'set it')}")
        elif name:
            lines.append(f"{name}: {_plain(one['msg'])}")
        else:
            # A rule over several settings: its own message names them.
            lines.append(_plain(one["msg"]))
    return lines


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _variable(title: str, field: str) -> str:
    """Return the environment variable of a field of the settings class of this name."""
    if field.startswith("SWARMSTATE_"):
        return field
    for settings in _SETTINGS:
        if settings.__name__ == title:
            known = settings.model_fields.get(field)
            alias = None if known is None else known.validation_alias
            if isinstance(alias, AliasChoices):
                return str(alias.choices[-1])
            return f"{settings.model_config.get('env_prefix', '')}{field.upper()}"
    return field
