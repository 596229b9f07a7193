"""One model: what its users are told, and when."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from src.agents.providers.gate import Gate
from src.agents.providers.model import Key, Model

Made = Callable[..., Model]


class Nothing:
    """A model that does nothing."""

    async def aclose(self) -> None:
        """Close: there is nothing to."""


@pytest.fixture
async def make() -> AsyncIterator[Made]:
    models: list[Model] = []

    def begin(what: Callable[[], Any], settled: Callable[[Model, bool], None]) -> Model:
        models.append(Model(Key("tts", "near/voice", b"{}"), what, Gate(), 30.0, settled))
        return models[-1]

    yield begin
    for model in models:
        model.close()
        assert model.gone(30.0)


async def test_load_is_counted_before_anybody_is_told_of_it(make: Made) -> None:
    counted: list[tuple[bool, bool]] = []
    model = make(Nothing, lambda model, good: counted.append((good, model.loaded is None)))
    await model.wait()
    assert counted == [(True, True)]


async def test_what_a_stream_does_not_take_any_more_is_not_logged(
    make: Made, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = await make(Nothing, lambda *_: None).wait()

    def push(text: str) -> None:
        raise RuntimeError("the stream is closed")

    async def told_before() -> None: ...

    loaded.tell(push, "what somebody said")
    await loaded.call(told_before())
    assert caplog.messages == []
