"""What can go wrong in the agents room.

AgentsError
├── VoiceFailed        a bot cannot be heard: no connection, or its voice's provider failed
├── ProviderMissing    no package here brings the provider that a config names
├── BadProvider        a provider does not take the options that a config gives it
├── RecordingFull      a conversation may have no more bytes of files
├── ProviderFailed     a provider's model cannot be loaded, or had no place for one request more
└── NoConversation     a job names no conversation, and its room does not either
"""

from __future__ import annotations


class AgentsError(Exception):
    """Base of what this room raises on purpose."""


class VoiceFailed(AgentsError):
    """A bot cannot be heard."""

    def __init__(self, bot_id: str, why: str) -> None:
        super().__init__(f"bot {bot_id} cannot be heard: {why}")
        self.bot_id = bot_id


class ProviderMissing(AgentsError):
    """No package that is installed brings this provider."""

    def __init__(self, stage: str, name: str, hint: str) -> None:
        super().__init__(f"there is no {stage} provider {name!r} here; {hint}")
        self.stage, self.name = stage, name


class BadProvider(AgentsError):
    """A provider refused its options."""

    def __init__(self, stage: str, name: str, why: str) -> None:
        super().__init__(
            f"the {stage} provider {name!r} does not take its options ({why}); mend "
            f"providers.options.{stage} of the bot, the team or the global setting"
        )
        self.stage, self.name = stage, name


class RecordingFull(AgentsError):
    """There is no room for a recording."""

    def __init__(self, conversation_id: str, left: int) -> None:
        super().__init__(
            f"conversation {conversation_id} may have {left} more bytes of files; delete some, or "
            "raise SWARMSTATE_FILE_QUOTA_BYTES"
        )


class ProviderFailed(AgentsError):
    """A provider's model cannot be used now; it may be later."""

    def __init__(self, stage: str, name: str, why: str) -> None:
        super().__init__(f"the {stage} provider {name!r} cannot be used now: {why}")
        self.stage, self.name = stage, name


class NoConversation(AgentsError):
    """A job without a conversation."""

    def __init__(self, room: str) -> None:
        super().__init__(
            f"room {room} names no conversation: dispatch with the metadata "
            '{"conversation_id": ...}, or create the room with it'
        )
        self.room = room
