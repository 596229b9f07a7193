"""Settings: a bad one fails at start, with its name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from src.api.settings import ApiSettings

SECRET = SecretStr("a secret of tests, at least thirty-two characters")


def test_there_is_no_default_secret() -> None:
    with pytest.raises(ValidationError, match="jwt_secret"):
        ApiSettings()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARMSTATE_API_JWT_SECRET", SECRET.get_secret_value())
    monkeypatch.setenv("SWARMSTATE_API_CORS_ORIGINS", '["https://rooms.example"]')
    monkeypatch.setenv("SWARMSTATE_PROFILE", "staging")

    settings = ApiSettings()

    assert settings.cors_origins == ("https://rooms.example",)
    assert settings.profile == "staging"


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        ({"jwt_secret": SecretStr("short")}, "jwt_secret"),
        ({"port": 70_000}, "port"),
        ({"max_body_bytes": 1}, "max_body_bytes"),
        ({"profile": "prod"}, "SWARMSTATE_PROFILE|profile"),
        ({"profile": "production", "cors_origins": ("*",)}, "SWARMSTATE_API_CORS_ORIGINS"),
    ],
)
def test_a_bad_setting_is_named(bad: dict[str, Any], name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        ApiSettings(**{"jwt_secret": SECRET, **bad})


def test_the_secret_is_in_no_text() -> None:
    assert SECRET.get_secret_value() not in repr(ApiSettings(jwt_secret=SECRET))
