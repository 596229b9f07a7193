"""Options of providers in configs: no keys, no addresses, and all else as it is."""

import pytest
from msgspec import Raw

from src.state.errors import Refused
from src.swarm.configs.bots import decode_bot
from src.swarm.configs.settings import decode_setting
from src.swarm.configs.teams import decode_team
from src.swarm.shapes import options
from src.swarm.shapes.accepting import accepted_config
from src.swarm.shapes.config import Config, LlmConfig


@pytest.mark.parametrize(
    "name",
    ["api_key", "key", "apikey", "auth_token", "client-secret", "Password", "extra_headers"],
)
def test_secret_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(Refused, match="SWARMSTATE_ROOMS_PROVIDERS") as refused:
        options.accept({"speed": 1.0, name: "x"}, "providers.options.tts")
    assert refused.value.field == f"providers.options.tts.{name}"
    assert "is a secret" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_url", "x"),
        ("azure_endpoint", "x"),
        ("ws_host", "x"),
        ("http_proxy", None),
        ("place", "https://elsewhere.example/v1"),
        ("place", "WSS://elsewhere.example"),
    ],
)
def test_address_is_refused_by_its_name_or_its_value(name: str, value: object) -> None:
    with pytest.raises(Refused) as refused:
        options.accept({name: value}, "f")
    assert refused.value.field == f"f.{name}"
    assert "where the provider is" in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"max_tokens": 10, "temperature": 0.5, "language": "en", "keyterms": ["x"]},
        {"instructions": "Never say https://example.org aloud."},
        {"hz": 440, "phrases": {"440": "key"}},
    ],
)
def test_what_shapes_an_answer_is_taken(given: dict[str, object]) -> None:
    options.accept(given, "f")


_PROVIDERS = b'{"options": {"stt": {"api_key": "x"}}}'


@pytest.mark.parametrize(
    ("accept", "field"),
    [
        (
            lambda: decode_bot(b'{"name": "B", "providers": %b}' % _PROVIDERS),
            "providers.options.stt.api_key",
        ),
        (
            lambda: decode_team(
                b'{"name": "T", "members": [], "defaults": {"providers": %b}}' % _PROVIDERS
            ),
            "defaults.providers.options.stt.api_key",
        ),
        (
            lambda: decode_setting("providers", b'{"value": %b}' % _PROVIDERS),
            "value.options.stt.api_key",
        ),
        (
            lambda: accepted_config(
                Config(llm_config=LlmConfig("a/b", options=Raw(b'{"api_key": "x"}'))), "config"
            ),
            "config.model_config.options.api_key",
        ),
    ],
)
def test_no_kind_of_config_takes_a_key(accept: object, field: str) -> None:
    assert callable(accept)
    with pytest.raises(Refused) as refused:
        accept()
    assert refused.value.field == field
