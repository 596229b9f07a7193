import signal
import socket
import sys
from pathlib import Path

import pytest

from src.embedded import StartFailed
from src.embedded.process import Order
from src.embedded.service import PORTS, Service, free_port, is_free

LISTEN = (
    "import socket, sys\n"
    "server = socket.socket()\n"
    "server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
    "server.bind(('127.0.0.1', int(sys.argv[1])))\n"
    "server.listen()\n"
    "print('listening', flush=True)\n"
    "server.accept()\n"
)


class Listener:
    """The smallest server there is."""

    name = "listener"
    program = "listener 1.0"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ports: list[int] = []

    def url(self, port: int) -> str:
        return f"tcp://127.0.0.1:{port}"

    def prepare(self) -> None:
        (self._folder / "prepared").touch()

    def order(self, port: int, log: Path) -> Order:
        self.ports.append(port)
        return Order(
            command=(sys.executable, "-I", "-c", LISTEN, str(port)),
            folder=self._folder,
            log=log,
            stop=((signal.SIGTERM, 5.0),),
        )

    def ready(self, pid: int, port: int) -> bool:
        return "listening" in (self._folder / "listener.log").read_text()


def test_started_server_answers_on_its_port(tmp_path: Path) -> None:
    service = Service(Listener(tmp_path), tmp_path)
    port = service.start()
    assert port in PORTS
    assert not is_free(port)
    service.stop()
    assert is_free(port)
    assert service.pid is None


def test_killed_server_comes_back_on_the_same_port(tmp_path: Path) -> None:
    service = Service(Listener(tmp_path), tmp_path)
    port, first = service.start(), service.pid
    service.kill()
    assert service.pid is None
    assert service.start() == port
    assert service.pid != first
    service.stop()


def test_start_of_a_running_server_changes_nothing(tmp_path: Path) -> None:
    recipe = Listener(tmp_path)
    service = Service(recipe, tmp_path)
    service.start()
    pid = service.pid
    service.start()
    assert (service.pid, len(recipe.ports)) == (pid, 1)
    service.stop()


def test_port_that_was_taken_meanwhile_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Listener(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        taken, free = other.getsockname()[1], free_port()
        offered = iter([taken, free])
        monkeypatch.setattr("src.embedded.service.free_port", lambda: next(offered))
        service = Service(recipe, tmp_path)
        assert service.start() == free
        assert recipe.ports == [taken, free]
        service.stop()


def test_server_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    class Broken(Listener):
        def order(self, port: int, log: Path) -> Order:
            return Order(
                command=("/bin/sh", "-c", "echo the disk is full; exit 1"),
                folder=tmp_path,
                log=log,
                stop=((signal.SIGTERM, 5.0),),
            )

    with pytest.raises(StartFailed, match=r"(?s)exit code 1.*the disk is full"):
        Service(Broken(tmp_path), tmp_path).start()


def test_silent_server_is_ended_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Listener):
        def ready(self, pid: int, port: int) -> bool:
            return False

    monkeypatch.setattr("src.embedded.service.START_PATIENCE_S", 0.2)
    recipe = Silent(tmp_path)
    with pytest.raises(StartFailed, match="did not answer"):
        Service(recipe, tmp_path).start()
    assert is_free(recipe.ports[0])


def test_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    service = Service(Listener(tmp_path), tmp_path)
    service.start()
    service.kill()
    service.start()
    service.stop()
    assert "listening" in (tmp_path / "listener.log.1").read_text()
