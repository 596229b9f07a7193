"""What a person is told when something cannot work."""

from __future__ import annotations

import pytest
import typer

from src.cli.failures import check_settings, explained, reaching
from src.state.errors import DurableTierUnavailable

GOOD = {
    "SWARMSTATE_DATABASE_URL": "postgresql://u:p@127.0.0.1/x",
    "SWARMSTATE_REDIS_URL": "redis://127.0.0.1",
    "SWARMSTATE_API_JWT_SECRET": "s" * 40,
}


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_every_missing_setting_is_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        check_settings()
    assert ended.value.exit_code == 1
    message = told(capsys)
    for name in GOOD:
        assert f"{name} is not set" in message


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("SWARMSTATE_API_PORT", "99999", "less than or equal to 65535"),
        ("SWARMSTATE_API_JWT_SECRET", "short-secret", "at least 32"),
        ("SWARMSTATE_L1_ENTRIES", "0", "greater than or equal to 1"),
        ("SWARMSTATE_PROFILE", "holiday", "development"),
        ("SWARMSTATE_FLUSH_DEBOUNCE", "soon", "'soon' is no duration"),
        ("SWARMSTATE_LIVEKIT_API_KEY", "APIabc", "need SWARMSTATE_LIVEKIT_URL"),
        ("SWARMSTATE_DEAD_AFTER", "3s", "SWARMSTATE_OWNER_DEADLINE < SWARMSTATE_DEAD_AFTER"),
    ],
)
def test_a_bad_setting_is_named_and_its_value_kept_back(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    why: str,
) -> None:
    for known, good in (GOOD | {name: value}).items():
        monkeypatch.setenv(known, good)
    with pytest.raises(typer.Exit):
        check_settings()
    message = told(capsys)
    assert name in message
    assert why in message
    assert "short-secret" not in message


def test_good_settings_pass_in_silence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, good in GOOD.items():
        monkeypatch.setenv(name, good)
    check_settings()
    assert told(capsys) == ""


def test_a_store_that_is_away_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, explained():
        raise DurableTierUnavailable("no connection to PostgreSQL at postgresql://u:***@h/x")
    assert ended.value.exit_code == 1
    assert told(capsys) == "swarmstate: no connection to PostgreSQL at postgresql://u:***@h/x"


def test_a_password_is_masked_in_what_a_driver_says(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), reaching("postgresql://u:geheim@db:5432/x"):
        raise OSError("Connect call failed")
    message = told(capsys)
    assert "postgresql://u:***@db:5432/x" in message
    assert "geheim" not in message


def test_ctrl_c_is_no_failure_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, explained():
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert told(capsys) == ""


def test_a_defect_keeps_its_trace() -> None:
    with pytest.raises(ZeroDivisionError), explained():
        raise ZeroDivisionError
