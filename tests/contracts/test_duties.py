"""What `Duties` promises, in memory and in PostgreSQL."""

import pytest

from src.state.errors import DurableTierUnavailable
from tests.contracts.conftest import Durable

A, B = "server-a", "server-b"


async def register(durable: Durable, *servers: str) -> None:
    for server in servers:
        await durable.registry().register(server, f"http://{server}")


async def test_duty_that_nobody_has_is_taken(durable: Durable) -> None:
    await register(durable, A)
    held = await durable.duties().hold(A, ["relay", "sweep"])
    assert set(held) == {"relay", "sweep"}


async def test_holder_keeps_its_duty_under_the_same_epoch(durable: Durable) -> None:
    await register(durable, A)
    first = await durable.duties().hold(A, ["relay"])
    assert await durable.duties().hold(A, ["relay"]) == first


async def test_duty_of_a_living_server_is_not_taken(durable: Durable) -> None:
    await register(durable, A, B)
    await durable.duties().hold(A, ["relay"])
    assert set(await durable.duties().hold(B, ["relay", "sweep"])) == {"sweep"}
    assert set(await durable.duties().hold(A, ["relay", "sweep"])) == {"relay"}


async def test_duty_of_a_dead_server_is_taken_under_a_higher_epoch(durable: Durable) -> None:
    await register(durable, A, B)
    before = await durable.duties().hold(A, ["relay"])
    await durable.registry().leave(A)
    after = await durable.duties().hold(B, ["relay"])
    assert after["relay"] > before["relay"]
    assert await durable.duties().hold(A, ["relay"]) == {}


async def test_duty_of_a_server_without_a_row_is_taken(durable: Durable) -> None:
    await register(durable, B)
    await durable.duties().hold("server-gone", ["relay"])
    assert set(await durable.duties().hold(B, ["relay"])) == {"relay"}


async def test_without_an_answer_nobody_knows(durable: Durable) -> None:
    duties = durable.duties()
    await durable.switch_off()
    with pytest.raises(DurableTierUnavailable):
        await duties.hold(A, ["relay"])
