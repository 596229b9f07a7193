"""What one server does for all: removing what nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from src.state.ownership.leader import Duty
from src.state.records.departed import Departed
from src.state.records.first_answers import FirstAnswers
from src.state.records.outbox import Outbox
from src.state.records.people import People
from src.swarm.files import FileService

_OFTEN = timedelta(minutes=10)


def upkeep(
    first_answers: FirstAnswers,
    outbox: Outbox,
    outbox_keep: timedelta,
    people: People,
    departed: Departed,
    files: FileService | None,
) -> Iterator[Duty]:
    """Give the duties, each under the name by which the servers share it."""
    yield Duty("first-answers-retention", _OFTEN, first_answers.retention())
    yield Duty("outbox-retention", _OFTEN, outbox.retention(outbox_keep))
    yield Duty("people-purge", _OFTEN, people.purge)
    yield Duty("servers-retention", _OFTEN, departed.forget_as_duty)
    if files is not None:
        yield Duty("files-sweep", _OFTEN, files.sweep_as_duty)
