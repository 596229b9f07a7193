import os
import signal
import sys
from pathlib import Path

from src.embedded.service import wait_until
from tests.support.embedding import Holder, alive, parent_of


def test_killed_warden_takes_its_server_along(data_dir: Path) -> None:
    if sys.platform != "linux":
        return  # Only Linux tells a process of its parent's death.
    holder = Holder(data_dir)
    for pid in holder.held.pids:
        os.kill(parent_of(pid), signal.SIGKILL)
    assert wait_until(lambda: not any(map(alive, holder.held.pids)), 30.0)
    assert holder.leave() == 0
