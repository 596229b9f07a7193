"""Pages of lists: where they go on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from src.state.errors import Refused
from src.swarm import pages


def test_a_cursor_names_its_place_to_the_microsecond() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)

    assert pages.place(pages.cursor(at, "c~1")) == (at, "c~1")
    assert pages.place(None) is None


@pytest.mark.parametrize("cursor", ["", "7", "~c-1", "today~c-1", f"{10**20}~c-1"])
def test_a_cursor_of_no_list_is_refused(cursor: str) -> None:
    with pytest.raises(Refused) as refused:
        pages.place(cursor)

    assert (refused.value.code, refused.value.field) == ("invalid", "cursor")
