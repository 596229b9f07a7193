"""`swarmstate dev`: a cluster on this machine, kept running until somebody says stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from src.cli.keeping import keep
from src.cli.talking import PERSON, TEAM, open_door
from src.demo.cluster import NO_ROOMS, Stores, open_cluster, write_private
from src.demo.errors import NotAnswered, ServerEnded
from src.demo.media import URL as LIVEKIT_URL
from src.demo.media import open_media
from src.demo.processes import ServerProcess
from src.embedded import BinariesMissing

_STOP = (signal.SIGINT, signal.SIGTERM)
_TOKEN_LIFETIME = timedelta(hours=12)


@contextmanager
def open_rooms(
    stores: Stores,
    settings: Mapping[str, str],
    ports: Sequence[int],
    console: Console,
    *,
    wanted: bool,
) -> Iterator[Mapping[str, str]]:
    """Give the settings of a LiveKit for the block; none where it is not wanted, or not there."""
    media = NO_ROOMS
    with ExitStack() as stack:
        try:
            if wanted:
                media = stack.enter_context(open_media(stores.data_dir, settings, ports))
        except BinariesMissing as error:
            console.print(f"no voice rooms: {error}", style="yellow", markup=False, soft_wrap=True)
        yield media


async def keep_running(
    stores: Stores, ports: Sequence[int], media: Mapping[str, str], console: Console
) -> None:
    """Run a server per port until SIGINT or SIGTERM, restart what dies, then drain them all.

    With the settings of a LiveKit they host rooms, and one is made to talk in.

    Raises:
        ServerEnded: a server did not come up at the beginning.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOP:
        loop.add_signal_handler(number, stop.set)
    console.print(f"starting {_servers(ports)} ...", style="dim")
    async with open_cluster(stores, ports, media=media) as servers:
        if not stop.is_set():
            token = issue_token(stores.jwt_secret, "dev", [Role.ADMIN], lifetime=_TOKEN_LIFETIME)
            console.print(_panel(stores, servers, media))
            _show_request(stores, servers[0], token, console)
            if media:
                await _show_room(stores, servers[0], token, console)
        async with asyncio.TaskGroup() as tasks:
            keepers = [tasks.create_task(keep(server, _Screen(console))) for server in servers]
            await stop.wait()
            for keeper in keepers:
                keeper.cancel()
        console.print(f"\ndraining {_servers(ports)} ...", style="dim")
    console.print("drained; every acknowledged turn is in the database", style="green")


class _Screen:
    """Says on the terminal what becomes of servers."""

    def __init__(self, console: Console) -> None:
        self._print = console.print

    def died(self, server: ServerProcess, code: int) -> None:
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        self._print(f"server {server.name} ended {how}; restarting it", style="yellow")

    def failed(self, server: ServerProcess, error: ServerEnded) -> None:
        self._print(str(error), style="red", markup=False)

    def returned(self, server: ServerProcess) -> None:
        self._print(f"server {server.name} answers again at {server.url}", style="green")


def _panel(stores: Stores, servers: Sequence[ServerProcess], media: Mapping[str, str]) -> Panel:
    table = Table.grid(padding=(0, 2))
    for server in servers:
        table.add_row(f"server {server.name}", Text(server.url, style="bold cyan"))
    table.add_row("documentation", f"{servers[0].url}/docs")
    table.add_row("PostgreSQL", stores.servers.postgres)
    table.add_row("Redis", stores.servers.redis)
    if media:
        table.add_row("LiveKit", media[LIVEKIT_URL])
    table.add_row("data, logs", str(stores.data_dir))
    return Panel(table, title="swarmstate", subtitle="Ctrl-C drains and stops", expand=False)


def _show_request(stores: Stores, server: ServerProcess, token: str, console: Console) -> None:
    """Print a token and a request that works, short because it takes the token from a file."""
    file = _token_file(stores)
    write_private(file, token)
    hours = int(_TOKEN_LIFETIME.total_seconds() // 3600)
    body = '{"id": "hello", "participants": [{"id": "ada", "kind": "bot", "name": "Ada"}]}'
    _show(console, f"A token, admin for {hours} hours, also in {_short(file)}:", token)
    _show(console, "Begin a conversation:", *_curl(stores, server, "/conversations", body))


async def _show_room(stores: Stores, server: ServerProcess, token: str, console: Console) -> None:
    """Print the way into a room, and a request that makes another one."""
    try:
        door = await open_door(server.name, server.url, token)
    except (NotAnswered, aiohttp.ClientError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        console.print(f"there is no room to talk in: {why}", style="yellow", markup=False)
        return
    _show(console, f'Talk with Ada as "{PERSON}", in a browser on this machine:', door.link)
    _show(
        console, "The same for another client of LiveKit, address and token:", door.url, door.token
    )
    body = f'{{"team": "{TEAM}"}}'
    lines = _curl(stores, server, "/agent/voice/automatic", body)
    _show(console, "Begin another room, with a token for it:", *lines)


def _curl(stores: Stores, server: ServerProcess, path: str, body: str) -> Sequence[str]:
    file = _short(_token_file(stores))
    return (
        f"curl -s {server.url}/api/v1{path} -d '{body}' \\",
        f'  -H "Authorization: Bearer $(cat {file})" -H "Content-Type: application/json"',
    )


def _show(console: Console, title: str, *lines: str) -> None:
    """Print lines to be copied: as long as they are."""
    shown = (Text(line, overflow="ignore", no_wrap=True) for line in lines)
    console.print(Group(Text(title, style="bold"), *shown, ""), soft_wrap=True)


def _token_file(stores: Stores) -> Path:
    return stores.data_dir / "token"


def _short(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def _servers(ports: Sequence[int]) -> str:
    return "one server" if len(ports) == 1 else f"{len(ports)} servers"
