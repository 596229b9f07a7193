"""The write-behind buffer: one flush at a time."""

import asyncio

from tests.support.clock import settle, virtual_time
from tests.support.cluster import Cluster


@virtual_time
async def test_change_during_a_slow_flush_is_written_by_a_flush_of_everything_beside_it() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        ack = await a.write("n", "one")
        buffer = a.notebooks.writebehind
        a.log_link.hold()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(buffer.flush_all())
            await settle()
            # As a takeover does, while the flush that was due is still under way.
            buffer.mark(ack.entry, 1, 1)
            beside = tasks.create_task(buffer.flush_all())
            await settle()
            assert not beside.done()
            a.log_link.release()
        assert len(buffer) == 0
        assert cluster.snapshot("n") == ack.version
