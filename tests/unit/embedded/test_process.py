import os
import signal
import sys
from pathlib import Path

import pytest

from src.embedded import StartFailed
from src.embedded.process import Order, Program, held, run
from src.embedded.service import wait_until
from tests.support.embedding import alive

DEAF = (
    "import signal, sys, time\n"
    "for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, signal.SIG_IGN)\n"
    "print('deaf', flush=True)\n"
    "time.sleep(600)\n"
)


def order(folder: Path, *command: str, text: str = "", patience_s: float = 5.0) -> Order:
    return Order(
        command=command,
        folder=folder,
        log=folder / "log",
        stop=((signal.SIGTERM, patience_s),),
        input=text,
    )


def test_run_gives_the_input_and_returns_the_output(tmp_path: Path) -> None:
    assert run(order(tmp_path, "/bin/cat", text="hello")) == "hello"


def test_failure_shows_the_exit_code_and_the_log(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match=r"(?s)exit code 3.*no such cluster"):
        run(order(tmp_path, "/bin/sh", "-c", "echo no such cluster; exit 3"))


def test_program_that_does_not_exist_fails_to_start(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="/nowhere/postgres could not be started"):
        Program(order(tmp_path, "/nowhere/postgres"))


def test_only_harmless_variables_reach_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/elsewhere")
    seen = run(order(tmp_path, "/usr/bin/env"))
    assert "PGDATA" not in seen
    assert "LC_ALL=C" in seen


def test_stop_ends_the_program(tmp_path: Path) -> None:
    program = Program(order(tmp_path, "/bin/sleep", "600"))
    assert alive(program.pid)
    program.stop()
    assert not program.alive
    assert not alive(program.pid)


def test_program_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    program = Program(order(tmp_path, sys.executable, "-c", DEAF, patience_s=0.05))
    assert wait_until(lambda: "deaf" in (tmp_path / "log").read_text(), 10.0)
    program.stop()
    assert not alive(program.pid)


def test_exit_code_of_a_killed_program_names_the_signal(tmp_path: Path) -> None:
    program = Program(order(tmp_path, "/bin/sleep", "600"))
    program.signal(signal.SIGKILL)
    assert program.wait() == 128 + signal.SIGKILL


def test_program_holds_its_lock_to_the_end(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held(lock, 0.0) as descriptor:
        program = Program(order(tmp_path, "/bin/sleep", "600"), descriptor)
    with pytest.raises(TimeoutError), held(lock, 0.0):
        pytest.fail("the running program has lost its lock")
    program.stop()
    with held(lock, 0.0):
        pass


def test_lock_outlives_the_program_in_what_it_forked(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held(lock, 0.0) as descriptor:
        script = "sleep 600 & echo $!; wait"
        program = Program(order(tmp_path, "/bin/sh", "-c", script), descriptor)
    assert wait_until(lambda: (tmp_path / "log").read_text().strip().isdigit(), 10.0)
    program.signal(signal.SIGKILL)
    program.wait()
    with pytest.raises(TimeoutError), held(lock, 0.0):
        pytest.fail("a child of the killed program is still running")
    os.kill(int((tmp_path / "log").read_text()), signal.SIGKILL)
    with held(lock, 10.0):
        pass
