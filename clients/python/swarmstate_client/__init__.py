"""A typed client of swarmstate; start reading at `client.py`."""

from swarmstate_client.client import Client
from swarmstate_client.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotAnswered,
    NotFound,
    PreconditionFailed,
    ProblemError,
    SwarmstateError,
    Unauthorized,
    Unavailable,
)

__all__ = [
    "Client",
    "Conflict",
    "Forbidden",
    "Invalid",
    "NotAnswered",
    "NotFound",
    "PreconditionFailed",
    "ProblemError",
    "SwarmstateError",
    "Unauthorized",
    "Unavailable",
]
