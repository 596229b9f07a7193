"""What was not there a moment ago is not looked up again; what was never asked for is."""

from src.state.buffers import Buffer
from src.state.reads.missing import Missing
from tests.support.clock import VirtualClock, virtual_time


@virtual_time
async def test_what_nobody_looked_up_is_not_missing_however_young_the_machine() -> None:
    missing = Missing(VirtualClock(offset_s=-1000.0))
    assert "n" not in missing
    missing.add("n")
    assert "n" in missing


@virtual_time
async def test_all_are_forgotten_and_counted_when_there_is_no_room_for_one_more() -> None:
    missing = Missing(VirtualClock())
    assert missing.buffer("notebook") == Buffer(0, 10_000, 0, "notebook")
    for n in range(10_000):
        missing.add(f"n{n}")
    assert missing.buffer("notebook") == Buffer(10_000, 10_000, 0, "notebook")
    missing.add("one more")
    assert missing.buffer("notebook") == Buffer(1, 10_000, 10_000, "notebook")
