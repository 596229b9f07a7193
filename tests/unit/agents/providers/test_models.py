"""Models are loaded once for all who name them, counted by their users, and closed after them."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import nullcontext
from typing import Any

import pytest
from livekit.agents.utils import http_context

from src.agents.errors import ProviderFailed, ProviderMissing
from src.agents.providers.models import Models
from src.agents.providers.plugins import Plugins
from src.agents.settings import NamedProvider
from src.agents.threads import own_loop
from src.swarm.providers.models import ModelItem
from tests.support.cluster_settings import eventually

NAME = "near/voice"


class Made:
    """A model, as a plugin makes it."""

    def __init__(self, factory: "Factory", options: Mapping[str, Any]) -> None:
        self._factory, self.options = factory, options

    async def where(self) -> tuple[threading.Thread, asyncio.AbstractEventLoop]:
        assert http_context.http_session() is not None
        return threading.current_thread(), asyncio.get_running_loop()

    async def aclose(self) -> None:
        self._factory.closed.append(self.options)


class Factory:
    """Makes models, and counts."""

    def __init__(self) -> None:
        self.made: list[Mapping[str, Any]] = []
        self.closed: list[Mapping[str, Any]] = []
        self.fail: Exception | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, options: Mapping[str, Any]) -> Made:
        self.made.append(options)
        assert self.may_go_on.wait(60)
        if self.fail is not None:
            raise self.fail
        return Made(self, options)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def make() -> Factory:
    return Factory()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def models(make: Factory, clock: Clock) -> AsyncIterator[Models]:
    async with Models(most=2, kept_s=60, clock=clock).running() as models:
        yield models
        # Before its thread is waited for.
        make.may_go_on.set()


def shown(models: Models) -> tuple[ModelItem, ...]:
    return models.report("here").models


async def test_model_is_loaded_once_though_asked_for_by_many_loops_at_once(
    models: Models, make: Factory
) -> None:
    async def use() -> object:
        lease = models.lease("tts", NAME, {"speed": 2}, make)
        return (await lease.loaded()).made

    make.may_go_on.clear()
    async with own_loop("one") as one, own_loop("two") as two:
        asked = [
            asyncio.wrap_future(asyncio.run_coroutine_threadsafe(use(), loop))
            for loop in (one, two, two, asyncio.get_running_loop())
        ]
        await eventually(lambda: [item.users for item in shown(models)] == [4], what="all waiting")
        assert [item.state for item in shown(models)] == ["loading"]
        make.may_go_on.set()
        first, *others = await asyncio.gather(*asked)
    assert all(other is first for other in others)
    assert make.made == [{"speed": 2}]
    report = models.report("here")
    assert (report.loads, report.shared) == (1, 3)


async def test_other_options_are_another_model_in_whatever_order_they_are_written(
    models: Models, make: Factory
) -> None:
    given: list[dict[str, Any]] = [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}]
    for options in given:
        await models.lease("tts", NAME, options, make).loaded()
    assert make.made == [given[0], given[2]]
    assert sorted(item.users for item in shown(models)) == [1, 2]


async def test_what_is_asked_of_a_model_runs_in_its_own_loop_with_its_own_connections(
    models: Models, make: Factory
) -> None:
    lease = models.lease("tts", NAME, {}, make)
    model = await lease.loaded()
    thread, loop = await model.call(model.made.where())
    assert loop is not asyncio.get_running_loop()
    assert thread.name == f"tts {NAME}"
    assert await model.call(model.made.where()) == (thread, loop)


async def test_model_that_nobody_uses_is_closed_after_a_while_and_not_before(
    models: Models, make: Factory, clock: Clock
) -> None:
    first, second = (models.lease("tts", NAME, {}, make) for _ in range(2))
    await first.loaded()
    first.release()
    clock.now_s += 61
    models.sweep()
    assert make.closed == []
    second.release()
    clock.now_s += 59
    models.sweep()
    assert [item.unused_s for item in shown(models)] == [59]
    clock.now_s += 1
    models.sweep()
    assert shown(models) == ()
    await eventually(lambda: make.closed == [{}], what="a closed model")
    again = models.lease("tts", NAME, {}, make)
    assert (await again.loaded()).made.options == {}
    assert len(make.made) == 2


async def test_lease_that_is_released_twice_is_released_once(models: Models, make: Factory) -> None:
    first, second = (models.lease("tts", NAME, {}, make) for _ in range(2))
    await second.loaded()
    first.release()
    first.release()
    assert [item.users for item in shown(models)] == [1]


async def test_model_whose_users_left_while_it_was_loaded_is_closed_like_others(
    models: Models, make: Factory, clock: Clock
) -> None:
    make.may_go_on.clear()
    lease = models.lease("tts", NAME, {}, make)
    waiting = asyncio.create_task(lease.loaded())
    await asyncio.sleep(0)
    waiting.cancel()
    lease.release()
    clock.now_s += 61
    models.sweep()
    assert [item.state for item in shown(models)] == ["loading"]
    make.may_go_on.set()
    await eventually(lambda: shown(models)[0].state == "ready", what="a loaded model")
    models.sweep()
    await eventually(lambda: make.closed == [{}], what="a closed model")


async def test_load_that_fails_names_the_provider_and_is_tried_anew(
    models: Models, make: Factory
) -> None:
    make.fail = OSError("the weights are not there")
    lease = models.lease("stt", NAME, {}, make)
    with pytest.raises(ProviderFailed, match=r"stt provider 'near/voice'.*the weights are not"):
        await lease.loaded()
    lease.release()
    assert shown(models) == ()
    make.fail = None
    await models.lease("stt", NAME, {}, make).loaded()
    report = models.report("here")
    assert (len(make.made), report.loads, report.failed_loads) == (2, 1, 1)


async def test_model_whose_thread_has_ended_fails_its_users_and_is_loaded_anew(
    models: Models, make: Factory
) -> None:
    lease = models.lease("stt", NAME, {}, make)
    model, began = await lease.loaded(), threading.Event()

    async def hear() -> None:
        began.set()
        await asyncio.Event().wait()

    async def listen() -> None:
        async with model.opened(nullcontext()):
            await model.call(hear())

    listening = asyncio.create_task(listen())
    assert await asyncio.to_thread(began.wait, 30)
    model.tell(sys.exit)
    with pytest.raises(ProviderFailed, match=r"near/voice.*(gave a request up|has ended)"):
        await listening
    await eventually(lambda: shown(models) == (), what="a model that is forgotten")
    with pytest.raises(ProviderFailed, match=r"near/voice.*has ended"):
        await listen()
    assert (await models.lease("stt", NAME, {}, make).loaded()).made is not model.made


async def test_load_that_takes_long_holds_nobody_up_and_is_not_begun_again(make: Factory) -> None:
    async with Models(patience_s=0.001).running() as models:
        make.may_go_on.clear()
        for _ in range(2):
            lease = models.lease("stt", NAME, {}, make)
            with pytest.raises(ProviderFailed, match=r"near/voice.*it is being loaded"):
                await lease.loaded()
            lease.release()
        models.lease("tts", NAME, {}, Factory())
        await eventually(lambda: shown(models)[1].state == "ready", what="another one")
        assert shown(models)[0].state == "loading"
        make.may_go_on.set()
        await eventually(lambda: shown(models)[0].state == "ready", what="the slow one")
        await models.lease("stt", NAME, {}, make).loaded()
    assert len(make.made) == 1


async def test_for_a_model_more_than_may_be_the_longest_unused_goes(
    models: Models, make: Factory, clock: Clock
) -> None:
    for options in ({"n": 1}, {"n": 2}):
        lease = models.lease("tts", NAME, options, make)
        await lease.loaded()
        clock.now_s += 1
        lease.release()
    used = models.lease("tts", NAME, {"n": 1}, make)
    await models.lease("tts", NAME, {"n": 3}, make).loaded()
    await eventually(lambda: make.closed == [{"n": 2}], what="a closed model")
    with pytest.raises(ProviderFailed, match="SWARMSTATE_ROOMS_MODELS"):
        models.lease("tts", NAME, {"n": 4}, make)
    assert models.buffers()["models"] == (2, 2, 1, "")
    used.release()
    await models.lease("tts", NAME, {"n": 4}, make).loaded()


async def test_name_that_is_none_makes_no_room_for_itself(models: Models, make: Factory) -> None:
    for options in ({"n": 1}, {"n": 2}):
        lease = models.lease("tts", NAME, options, make)
        await lease.loaded()
        lease.release()
    with pytest.raises(ProviderMissing, match="plugin/model"):
        models.lease("tts", "voice", {}, make)
    assert len(shown(models)) == 2


async def test_at_the_end_all_are_closed_also_those_in_use(make: Factory) -> None:
    async with Models().running() as models:
        for options in ({"n": 1}, {"n": 2}):
            await models.lease("tts", NAME, options, make).loaded()
    assert sorted(one["n"] for one in make.closed) == [1, 2]


async def test_requests_beyond_the_operators_bound_wait_and_are_refused_by_name(
    make: Factory,
) -> None:
    given = {"near": NamedProvider(plugin="openai", concurrency=1)}
    async with Models(Plugins(given), patience_s=0.001).running() as models:

        async def loaded(stage: Any, options: Mapping[str, Any]) -> Any:
            lease = models.lease(stage, NAME, options, make)
            await eventually(lambda: all(one.state == "ready" for one in shown(models)))
            return await lease.loaded()

        coral, ash = await loaded("tts", {"voice": "coral"}), await loaded("tts", {"voice": "ash"})
        async with coral.used():
            assert [item.requests for item in shown(models)] == [1, 1]
            with pytest.raises(ProviderFailed, match=r"near/voice.*1 of its requests.*concurrency"):
                async with ash.used():
                    pytest.fail("two at once")
            other = await loaded("stt", {})
            async with other.used():
                assert [item.concurrency for item in shown(models)] == [1, 1, 1]
        async with ash.used():
            assert [item.requests for item in shown(models)] == [0, 1, 1]


async def test_options_are_told_apart_and_not_shown(models: Models, make: Factory) -> None:
    for word in ("one", "two"):
        await models.lease("tts", NAME, {"prompt": word}, make).loaded()
    first, second = shown(models)
    assert first.options != second.options
    assert "prompt" not in repr((first, second))
    assert (first.stage, first.name, first.users) == ("tts", NAME, 1)
    assert first.load_s >= 0


def test_what_a_model_is_loaded_by_is_a_thread_that_ends_with_it() -> None:
    async def run() -> list[str]:
        async with Models().running() as models:
            await models.lease("tts", "near/alone", {}, Factory()).loaded()
        return [thread.name for thread in threading.enumerate()]

    check: Callable[[str], bool] = "near/alone".__contains__
    assert not any(check(name) for name in asyncio.run(run()))
