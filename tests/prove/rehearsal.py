"""Acts that take no time and need no servers, for the runner's own tests; a child plays them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.prove import child
from tests.prove.act import Act, Place, Result, Stopped

COMMAND = (sys.executable, "-m", "tests.prove.rehearsal")


async def _keep(place: Place) -> Result:
    place.tell("all is well")
    counts = {"acked_turns": 7, "kill_owner": 1}
    return Result(counts, {"takeover_s": [1.0]}, {"queued": 1}, seed=3, in_flight_min=60)


async def _break(place: Place) -> Result:
    return Result({"acked_turns": 5}, violations=("room-1: a turn is lost", "room-2: a fork"))


async def _fail(place: Place) -> Result:
    raise ConnectionError("no database here")


async def _die(place: Place) -> Result:
    sys.stderr.write("the last words\n")
    sys.stderr.flush()
    os._exit(9)


async def _wait_for_the_end(place: Place) -> Result:
    place.tell(f"waits in process {os.getpid()}")
    await place.stop.wait()
    raise Stopped


async def _wait_for_ever(place: Place) -> Result:
    place.tell(f"waits in process {os.getpid()}")
    await asyncio.Event().wait()
    return Result()


async def _blossom_late(place: Place) -> Result:
    """Fail the first time."""
    first = Path(os.environ["REHEARSAL"]) / "been-here"
    if not first.exists():
        first.touch()
        raise ConnectionError("not yet")
    return Result()


async def _note(place: Place) -> Result:
    """Write down when it began and ended."""
    log = Path(os.environ["REHEARSAL"]) / "log"
    for word in ("begins", "ends"):
        with log.open("a") as file:
            file.write(f"{place.folder.name} {word}\n")
        await asyncio.sleep(0.05)
    return Result()


ACTS = (
    Act("keeps", "good", _keep),
    Act("breaks", "bad", _break),
    Act("fails", "bad", _fail),
    Act("dies", "bad", _die),
    Act("waits", "long", _wait_for_the_end),
    Act("waits-for-ever", "long", _wait_for_ever),
    Act("blossoms-late", "odd", _blossom_late),
    Act("alone-1", "odd", _note, alone=True),
    Act("alone-2", "odd", _note, alone=True),
)

if __name__ == "__main__":
    sys.exit(child.main(sys.argv[1:], lambda: ACTS))
