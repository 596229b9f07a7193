"""L2 gets what was loaded, beside the reader's way; what does not fit is left out and counted."""

from src.state.buffers import Buffer
from src.state.models import Version
from src.state.reads.fills import Fills
from src.state.settings import StateSettings
from src.state.tiers.incarnations import Incarnations
from src.state.tiers.memory_shared import MemoryShared
from src.state.tiers.memory_space import MemorySpace
from tests.support.clock import VirtualClock, virtual_time
from tests.support.cluster_settings import settings
from tests.support.kinds import NOTEBOOKS, Notebook, notebook


def fills() -> Fills[Notebook]:
    given: StateSettings = settings()
    shared = MemoryShared(MemorySpace(), Incarnations(), given, VirtualClock())
    return Fills(NOTEBOOKS, shared)


@virtual_time
async def test_queue_is_bounded_and_counts_what_it_leaves_out() -> None:
    queue = fills()
    assert queue.buffer("notebook") == Buffer(0, 1000, 0, "notebook")
    for n in range(1003):
        queue.add(notebook(f"n{n}", Version(1, 1), "one"), "life")
    assert queue.buffer("notebook") == Buffer(1000, 1000, 3, "notebook")


@virtual_time
async def test_what_waits_already_is_replaced_although_the_queue_is_full() -> None:
    queue = fills()
    for n in range(1000):
        queue.add(notebook(f"n{n}", Version(1, 1), "one"), "life")
    queue.add(notebook("n7", Version(1, 2), "one", "two"), "life")
    assert queue.buffer("notebook").left_out == 0
