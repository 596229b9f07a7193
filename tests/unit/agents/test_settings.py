"""Settings of rooms: providers that the operator names, whose keys nobody is shown."""

import pytest
from pydantic import ValidationError

from src.agents.settings import RoomsSettings

NAME = "SWARMSTATE_ROOMS_PROVIDERS"


def test_provider_has_a_plugin_and_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, '{"eu": {"plugin": "openai", "options": {"api_key": "k3y"}}}')
    settings = RoomsSettings()
    assert settings.providers["eu"].plugin == "openai"
    assert settings.providers["eu"].options == {"api_key": "k3y"}
    assert "k3y" not in repr(settings)


@pytest.mark.parametrize(
    "given",
    [
        '{"eu": {"plugin": "openai", "option": {"api_key": "k3y"}}}',
        '{"eu": {"plugin": "open ai", "options": {"api_key": "k3y"}}}',
        '{"e/u": {"plugin": "openai", "options": {"api_key": "k3y"}}}',
        '{"eu": "k3y"}',
    ],
)
def test_error_shows_no_key(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, given)
    with pytest.raises(ValidationError) as refused:
        RoomsSettings()
    assert "k3y" not in str(refused.value)
