"""livekit-server on loopback, for one run: a key is made for it, and its rooms end with it."""

import json
import os
import secrets
import signal
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from src.embedded.binaries import Binary
from src.embedded.process import Order
from src.embedded.service import Service, free_port

STOP = ((signal.SIGKILL, 5.0),)
"""It keeps nothing; asked politely it waits until everybody has left."""
KEY = "swarmstate"
SECRET_BYTES = 36
ANSWER_S = 2.0
LOOPBACK = ("lo", "lo0")
"""What Linux calls it, and what macOS does."""


class LiveKit:
    """The recipe for a livekit-server; see `Recipe`."""

    name = "livekit"

    def __init__(
        self, binary: Binary, data_dir: Path, secret: str, webhooks: Sequence[str]
    ) -> None:
        self._binary, self.secret, self._webhooks = binary, secret, webhooks
        self._folder = data_dir / self.name

    @property
    def program(self) -> str:
        return str(self._binary)

    def url(self, port: int) -> str:
        return f"ws://127.0.0.1:{port}"

    def prepare(self) -> None:
        """Make the folder of its configuration; nothing else is kept there."""
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def order(self, port: int, log: Path) -> Order:
        media = {"tcp_port": free_port(), "udp_port": free_port(), "use_external_ip": False}
        # Nothing of anything that is not loopback's.
        own = {"interfaces": {"includes": LOOPBACK}, "enable_loopback_candidate": True}
        config = {
            "port": port,
            "keys": {KEY: self.secret},
            "rtc": {**media, **own},
            "logging": {"level": "info"},
            "webhook": {"api_key": KEY, "urls": list(self._webhooks)},
        }
        # A file, not arguments: everybody on the machine can read a command line.
        file = self._folder / "livekit.json"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(config, out)
        address = ("--bind", "127.0.0.1", "--node-ip", "127.0.0.1")
        command = (str(self._binary.path), "--config", str(file), *address)
        return Order(command=command, folder=self._folder, log=log, stop=STOP)

    def ready(self, pid: int, port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=ANSWER_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Running:
    """A livekit-server that answers; see `open_livekit`."""

    def __init__(self, recipe: LiveKit, service: Service, port: int) -> None:
        self.url, self.key, self.secret = recipe.url(port), KEY, recipe.secret
        self.program = recipe.program
        self._service = service

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._service.pid


@contextmanager
def open_livekit(
    binary: Binary,
    data_dir: Path,
    *,
    webhooks: Sequence[str] = (),
    port: int | None = None,
    secret: str | None = None,
) -> Iterator[Running]:
    """Run a livekit-server for the length of the block; it tells these URLs of its rooms.

    The folder has to be there. A port that is not given is found free, a secret is made. It ends
    with this process, however that ends.

    Raises:
        StartFailed: it ended or stayed silent while starting.
        DataDirBusy: one of an earlier run does not go away.
    """
    recipe = LiveKit(binary, data_dir, secret or secrets.token_urlsafe(SECRET_BYTES), webhooks)
    service = Service(recipe, data_dir)
    service.port = port
    try:
        yield Running(recipe, service, service.start())
    finally:
        service.stop()
