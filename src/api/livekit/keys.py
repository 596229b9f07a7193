"""What LiveKit's secret is for: tokens that let people into rooms, and LiveKit's own messages."""

from __future__ import annotations

from typing import Literal

import jwt
import msgspec
from livekit import api
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.webhook import WebhookEvent

from src.api.errors import Unauthorized
from src.api.livekit.admissions import Admission, Part
from src.swarm.rooms.protocols import Heard
from src.swarm.rooms.settings import LiveKitSettings

_WHAT: dict[str, Literal["began", "ended", "joined", "left"]] = {
    "room_started": "began",
    "room_finished": "ended",
    "participant_joined": "joined",
    "participant_left": "left",
    "participant_connection_aborted": "left",
}


class LiveKitKeys:
    """Signs with LiveKit's secret, and checks what was signed with it."""

    def __init__(self, settings: LiveKitSettings) -> None:
        assert settings.api_key is not None
        assert settings.api_secret is not None
        self._key, self._secret = settings.api_key, settings.api_secret.get_secret_value()
        self._settings = settings
        self._receiver = api.WebhookReceiver(api.TokenVerifier(self._key, self._secret))

    def token(self, admission: Admission) -> str:
        """Return a token that lets one participant into one room.

        Should it be what begins the room anew, the room gets its metadata and time-outs from it.
        Its swarm is none of the token's business: a room that lives already would not look.
        """
        settings, part = self._settings, admission.part
        room = api.RoomConfiguration(
            metadata=_json({"conversation_id": admission.conversation_id}),
            empty_timeout=int(settings.empty_timeout.total_seconds()),
            departure_timeout=int(settings.departure_timeout.total_seconds()),
        )
        grants = api.VideoGrants(
            room_join=True,
            room=admission.room_id,
            room_admin=True if part is Part.HOST else None,
            can_subscribe=True,
            can_publish=part is not Part.LISTENER,
            can_publish_data=part is not Part.LISTENER,
            # Metadata says who somebody is.
            can_update_own_metadata=False,
        )
        token = api.AccessToken(self._key, self._secret).with_ttl(settings.token_lifetime)
        token = token.with_identity(admission.identity).with_name(admission.name)
        token = token.with_metadata(_json({"user_id": admission.user_id}))
        if admission.attributes:
            token = token.with_attributes(dict(admission.attributes))
        return token.with_grants(grants).with_room_config(room).to_jwt()

    def heard(self, body: bytes, authorization: str | None) -> Heard | None:
        """Return what LiveKit says of a room; None for what is of no concern here.

        Raises:
            Unauthorized: LiveKit did not sign these bytes, or long ago.
        """
        if not authorization:
            raise Unauthorized("there is no signature")
        try:
            # The bytes as they came: what is parsed and written again has another digest.
            event = self._receiver.receive(body.decode(), authorization)
        except (jwt.InvalidTokenError, UnicodeDecodeError) as error:
            raise Unauthorized("the signature is none of LiveKit's, or too old") from error
        except Exception as error:
            # The library has no type of its own for a digest that is missing or another one.
            raise Unauthorized("the signature is of another body") from error
        return _heard(event)


def _heard(event: WebhookEvent) -> Heard | None:
    what, room, who = _WHAT.get(event.event), event.room, event.participant
    if what is None or not room.name:
        return None
    began = room.creation_time_ms or room.creation_time * 1000
    is_agent = who.kind == ParticipantInfo.Kind.AGENT
    return Heard(event.id, what, room.name, room.sid, began, who.identity, is_agent)


def _json(value: dict[str, str]) -> str:
    return msgspec.json.encode(value).decode()
