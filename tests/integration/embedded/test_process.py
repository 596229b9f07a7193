"""What is left of the servers when the process that opened them dies: nothing but the data."""

import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from src.embedded import DataDirBusy, open_servers
from src.embedded.service import wait_until
from tests.support.embedding import Holder, alive, parent_of, query, redis_get, redis_set

PATIENCE_S = 30.0


def all_gone(pids: tuple[int, ...]) -> bool:
    return not any(alive(pid) for pid in pids)


def test_servers_end_with_a_process_that_was_killed(data_dir: Path) -> None:
    holder = Holder(data_dir)
    wardens = tuple(parent_of(pid) for pid in holder.held.pids)
    holder.kill()
    assert wait_until(lambda: all_gone(holder.held.pids + wardens), PATIENCE_S)


def test_next_process_goes_on_at_once_with_the_data_of_a_killed_one(data_dir: Path) -> None:
    holder = Holder(data_dir)
    query(holder.held.database_url, "CREATE TABLE kept AS SELECT 42 AS number", "SELECT 1")
    redis_set(holder.held.redis_url, "kept", "42")
    holder.kill()
    with open_servers(data_dir) as servers:
        assert query(servers.database_url, "SELECT number FROM kept") == 42
        assert redis_get(servers.redis_url, "kept") == b"42"


def test_next_process_goes_on_when_everything_was_killed_at_once(data_dir: Path) -> None:
    holder = Holder(data_dir)
    query(holder.held.database_url, "CREATE TABLE kept AS SELECT 42 AS number", "SELECT 1")
    for pid in (*(parent_of(pid) for pid in holder.held.pids), *holder.held.pids):
        os.kill(pid, signal.SIGKILL)
    holder.kill()
    with open_servers(data_dir) as servers:
        assert query(servers.database_url, "SELECT number FROM kept") == 42


def test_servers_outlive_a_control_c_until_their_process_has_drained(data_dir: Path) -> None:
    holder = Holder(data_dir)
    assert all(os.getsid(pid) != os.getsid(holder.process.pid) for pid in holder.held.pids)
    assert holder.leave() == 0
    assert all_gone(holder.held.pids)


def test_folder_is_refused_while_another_process_has_it(data_dir: Path) -> None:
    holder = Holder(data_dir)
    with (
        pytest.raises(DataDirBusy, match=f"in use by process {holder.process.pid}"),
        open_servers(data_dir),
    ):
        pytest.fail("two processes have the servers open")
    assert holder.leave() == 0


def test_password_stands_in_no_command_line(data_dir: Path) -> None:
    holder = Holder(data_dir)
    password = urlsplit(holder.held.database_url).password
    pids = (*(parent_of(pid) for pid in holder.held.pids), *holder.held.pids)
    commands = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)
    assert holder.leave() == 0
    assert b"warden.py" in commands
    assert password is not None
    assert password.encode() not in commands
