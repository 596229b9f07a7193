"""A typed client of swarmstate; start reading at `client.py`.

One file per noun (`conversations.py`, `configs.py`, `files.py`, ...), each over the one trip in
`transport.py`. What is answered is in `answers.py`, what goes wrong in `errors.py`. `livekit.py`
needs the extra `livekit` and is imported by name.
"""

from swarmstate_client.answers import (
    BranchBegun,
    Conversation,
    EffectiveConfig,
    Event,
    Message,
    Participant,
    Posted,
    Saved,
    SessionKept,
    Summary,
    ToolUse,
    Written,
)
from swarmstate_client.changes import Change, Reset
from swarmstate_client.client import Client
from swarmstate_client.configs import Config, Diff, Difference
from swarmstate_client.credentials import Login
from swarmstate_client.errors import (
    ChecksumMismatch,
    Conflict,
    Forbidden,
    Invalid,
    NotAnswered,
    NotConfigured,
    NotFound,
    NotUnderstood,
    PreconditionFailed,
    ProblemError,
    SwarmstateError,
    Unauthorized,
    Unavailable,
)
from swarmstate_client.files import FileHead, FileInfo, Recording
from swarmstate_client.patience import Patience
from swarmstate_client.sessions import Session, Talk

__all__ = [
    "BranchBegun",
    "Change",
    "ChecksumMismatch",
    "Client",
    "Config",
    "Conflict",
    "Conversation",
    "Diff",
    "Difference",
    "EffectiveConfig",
    "Event",
    "FileHead",
    "FileInfo",
    "Forbidden",
    "Invalid",
    "Login",
    "Message",
    "NotAnswered",
    "NotConfigured",
    "NotFound",
    "NotUnderstood",
    "Participant",
    "Patience",
    "Posted",
    "PreconditionFailed",
    "ProblemError",
    "Recording",
    "Reset",
    "Saved",
    "Session",
    "SessionKept",
    "Summary",
    "SwarmstateError",
    "Talk",
    "ToolUse",
    "Unauthorized",
    "Unavailable",
    "Written",
]
