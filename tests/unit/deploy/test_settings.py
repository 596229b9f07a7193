"""docs/settings.md says of every setting what the code says, and no text names one that is not."""

import re
from datetime import timedelta
from itertools import chain
from typing import NamedTuple

import pytest
from pydantic_core import PydanticUndefined

from tests.unit.deploy.names import FIELDS, ROOT, default, names_in, parsed

# Read by the command line and by src/embedded, in no class.
OTHERS = {
    "SWARMSTATE_DATA_DIR",
    "SWARMSTATE_EMBEDDED_POSTGRES",
    "SWARMSTATE_EMBEDDED_REDIS",
    "SWARMSTATE_LIVEKIT_SERVER",
}
TEXTS = sorted(
    path
    for folder in ("deploy", "docs")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and path.suffix != ".env"
)
SOURCES = sorted((ROOT / "src").rglob("*.py"))


class Row(NamedTuple):
    setting: str
    unit: str
    default: str
    effect: str


ROWS = {
    row.setting: row
    for row in (
        Row(*cells)
        for cells in re.findall(
            r"(?m)^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$",
            (ROOT / "docs" / "settings.md").read_text(),
        )
    )
}


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert set(ROWS) == set(FIELDS) | OTHERS


@pytest.mark.parametrize("setting", FIELDS)
def test_documented_default_is_the_one_in_force(setting: str) -> None:
    field, told = FIELDS[setting], ROWS[setting].default
    expected = default(field)
    if expected is PydanticUndefined:
        assert told == ("required" if field.is_required() else "derived")
    elif expected is None:
        assert told == "none"
    else:
        assert parsed(field, told.strip("`")) == expected


@pytest.mark.parametrize("setting", FIELDS)
def test_documented_unit_is_that_of_the_value(setting: str) -> None:
    unit = ROWS[setting].unit
    assert (unit == "duration") == isinstance(default(FIELDS[setting]), timedelta)
    assert (unit == "bytes") == setting.endswith("_BYTES")
    assert (unit == "URL") == setting.endswith("_URL")
    assert (unit == "secret") == setting.endswith("_SECRET")


@pytest.mark.parametrize("setting", ROWS)
def test_effect_is_a_sentence(setting: str) -> None:
    assert re.search(r"\.$", ROWS[setting].effect)


def test_texts_name_settings_that_exist() -> None:
    unknown = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in TEXTS
        for name in names_in(path.read_text()) - set(ROWS)
    }
    assert unknown == set()


def test_messages_and_comments_of_the_code_name_settings_that_exist() -> None:
    unknown = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        for name in names_in(path.read_text()) - set(ROWS)
    }
    assert unknown == set()


def test_others_are_read_somewhere() -> None:
    said = set(chain.from_iterable(names_in(path.read_text()) for path in SOURCES))
    assert OTHERS - said == set()
