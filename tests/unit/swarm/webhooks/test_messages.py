"""Messages as Standard Webhooks wants them."""

import base64
import json
from datetime import UTC, datetime

from msgspec.structs import replace

from src.state.models import Change
from src.swarm.webhooks import messages
from src.swarm.webhooks.messages import Message

AT = datetime(2030, 1, 1, 12, tzinfo=UTC)
CHANGE = Change(7, "bot", "ada", 3, AT)


def test_signature_is_the_one_that_the_standards_own_library_makes() -> None:
    message = Message("msg_1", "bot.changed", b'{"type":"bot.changed"}')
    headers = messages.headers(message, [bytes(range(32))], 1_893_456_000)
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-timestamp"] == "1893456000"
    # Made once with the package standardwebhooks 1.1.0.
    assert headers["webhook-signature"] == "v1,UT1ipJr3YJvkP1qFSrAIDiIijhvOAVeF4x4jeBx/b9k="


def test_while_a_secret_is_rotated_both_sign() -> None:
    message = messages.of_change("w", CHANGE)
    old, new = (messages.headers(message, [key], 1)["webhook-signature"] for key in (b"a", b"b"))
    both = messages.headers(message, [b"a", b"b"], 1)["webhook-signature"]
    assert both == f"{old} {new}"


def test_secret_is_as_long_as_the_standard_asks_and_as_its_libraries_read_it() -> None:
    secret = messages.new_secret()
    assert 24 <= len(secret) <= 64
    prefix, _, text = messages.secret_text(secret).partition("_")
    assert (prefix, base64.b64decode(text, validate=True)) == ("whsec", secret)
    assert messages.new_secret() != secret


def test_body_says_what_changed_and_never_the_value() -> None:
    assert json.loads(messages.of_change("w", CHANGE).body) == {
        "type": "bot.changed",
        "timestamp": "2030-01-01T12:00:00Z",
        "data": {
            "position": 7,
            "kind": "bot",
            "id": "ada",
            "version": 3,
            "at": "2030-01-01T12:00:00Z",
        },
    }


def test_id_is_that_of_the_change_for_this_receiver_whoever_sends_it() -> None:
    first = messages.of_change("w", CHANGE)
    assert messages.of_change("w", CHANGE) == first
    others = [
        messages.of_change("v", CHANGE),
        # After a failover of PostgreSQL the same place may be another change's.
        messages.of_change("w", replace(CHANGE, at=AT.replace(second=1))),
        messages.of_change("w", replace(CHANGE, version=4)),
        messages.of_reset("w", 7, 9, AT),
        messages.of_reset("w", 7, 10, AT),
        messages.of_test("w", AT),
        messages.of_test("w", AT),
    ]
    ids = {first.id, *(other.id for other in others)}
    assert len(ids) == len(others) + 1
    assert not any("." in id for id in ids)
