"""What a try means."""

from datetime import timedelta

import pytest

from src.state.records.webhooks import Webhook
from src.swarm.webhooks.messages import Message
from src.swarm.webhooks.relay import Patience, judge
from src.swarm.webhooks.sender import Outcome
from tests.support.clock import BEGAN

PATIENCE = Patience(timedelta(seconds=5), timedelta(hours=1), timedelta(days=3))
MESSAGE = Message("msg_1", "bot.changed", b"{}")


def webhook(attempts: int = 0, failing_s: float = 0.0) -> Webhook:
    return Webhook(
        id="w",
        url="https://example.com",
        kinds=(),
        ids=(),
        active=True,
        secret=b"",
        previous_secret=None,
        position=6,
        attempts=attempts,
        failing_s=failing_s,
        next_try=None,
        reason="",
        version=1,
        created_by="ed",
        created_at=BEGAN,
        updated_at=BEGAN,
    )


def test_good_answer_is_a_delivery_however_late() -> None:
    tried = judge(webhook(40, 1e9), MESSAGE, 7, Outcome(204), PATIENCE, 0.5)
    assert (tried.status, tried.position, tried.next_in) == ("delivered", 7, None)


@pytest.mark.parametrize("outcome", [Outcome(500, "answered 500"), Outcome(None, "no answer")])
def test_failure_is_tried_again(outcome: Outcome) -> None:
    tried = judge(webhook(), MESSAGE, 7, outcome, PATIENCE, 1.0)
    assert (tried.status, tried.error) == ("retrying", outcome.error)
    assert tried.next_in == timedelta(seconds=5)


def test_pauses_double_up_to_the_longest_and_are_jittered() -> None:
    pauses = [PATIENCE.after(attempt, 1.0).total_seconds() for attempt in (1, 2, 3, 10, 11, 500)]
    assert pauses == [5, 10, 20, 2560, 3600, 3600]
    assert PATIENCE.after(3, 0.0).total_seconds() == 10


def test_message_that_failed_for_too_long_ends_its_webhook_with_the_cause() -> None:
    tried = judge(webhook(80, 3 * 86_400), MESSAGE, 7, Outcome(502, "answered 502"), PATIENCE, 0)
    assert (tried.status, tried.position) == ("failed", 7)
    assert tried.reason == "a message failed for 3.0 days: answered 502"


def test_receiver_that_is_gone_ends_its_webhook_at_once() -> None:
    tried = judge(webhook(), MESSAGE, 7, Outcome(410, "answered 410"), PATIENCE, 0)
    assert (tried.status, tried.reason) == ("failed", "the receiver answered 410 Gone")
