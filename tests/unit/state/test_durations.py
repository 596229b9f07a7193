"""Settings take durations as people write them."""

from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from src.state.durations import Duration

_adapter: TypeAdapter[timedelta] = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("2s", timedelta(seconds=2)),
        ("1.5s", timedelta(milliseconds=1500)),
        (" 15m ", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("3 m", timedelta(minutes=3)),
        ("0.25h", timedelta(minutes=15)),
        ("999999999ms", timedelta(milliseconds=999_999_999)),
        ("0.000001s", timedelta(microseconds=1)),
        ("PT0.3S", timedelta(milliseconds=300)),
        ("00:01:00", timedelta(minutes=1)),
    ],
)
def test_a_number_with_a_unit_is_a_duration(text: str, expected: timedelta) -> None:
    assert expected == _adapter.validate_python(text)


@pytest.mark.parametrize(
    "text", ["2", "", "0s", "-1s", "2 weeks", "s", "1e3s", "1.s", "1234567890ms", "1.1234567s"]
)
def test_anything_else_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(ValidationError, match="write 500ms, 90s, 30m"):
        _adapter.validate_python(text)
