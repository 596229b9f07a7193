"""`swarmstate dev`: a cluster on this machine, kept running until somebody says stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from src.cli.keeping import keep
from src.demo.cluster import Stores, open_cluster, write_private
from src.demo.errors import ServerEnded
from src.demo.processes import ServerProcess

_STOP = (signal.SIGINT, signal.SIGTERM)
_TOKEN_LIFETIME = timedelta(hours=12)


async def keep_running(stores: Stores, ports: Sequence[int], console: Console) -> None:
    """Run a server per port until SIGINT or SIGTERM, restart what dies, then drain them all.

    Raises:
        ServerEnded: a server did not come up at the beginning.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOP:
        loop.add_signal_handler(number, stop.set)
    console.print(f"starting {_servers(ports)} ...", style="dim")
    async with open_cluster(stores, ports) as servers:
        if not stop.is_set():
            console.print(_panel(stores, servers))
            _show_request(stores, servers[0], console)
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


def _panel(stores: Stores, servers: Sequence[ServerProcess]) -> Panel:
    table = Table.grid(padding=(0, 2))
    for server in servers:
        table.add_row(f"server {server.name}", Text(server.url, style="bold cyan"))
    table.add_row("documentation", f"{servers[0].url}/docs")
    table.add_row("PostgreSQL", stores.servers.postgres)
    table.add_row("Redis", stores.servers.redis)
    table.add_row("data, logs", str(stores.data_dir))
    return Panel(table, title="swarmstate", subtitle="Ctrl-C drains and stops", expand=False)


def _show_request(stores: Stores, server: ServerProcess, console: Console) -> None:
    """Print a token and a request that works, short because it takes the token from a file."""
    token = issue_token(stores.jwt_secret, "dev", [Role.ADMIN], lifetime=_TOKEN_LIFETIME)
    file = stores.data_dir / "token"
    write_private(file, token)
    hours = int(_TOKEN_LIFETIME.total_seconds() // 3600)
    body = '{"id": "hello", "participants": [{"id": "ada", "kind": "bot", "name": "Ada"}]}'
    lines = (
        f"curl -s {server.url}/api/v1/conversations -d '{body}' \\",
        f'  -H "Authorization: Bearer $(cat {_short(file)})" -H "Content-Type: application/json"',
    )
    console.print(
        Group(
            Text(f"A token, admin for {hours} hours, also in {_short(file)}:", style="bold"),
            Text(token, overflow="ignore", no_wrap=True),
            Text("\nBegin a conversation:", style="bold"),
            *(Text(line, overflow="ignore", no_wrap=True) for line in lines),
            "",
        ),
        soft_wrap=True,
    )


def _short(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def _servers(ports: Sequence[int]) -> str:
    return "one server" if len(ports) == 1 else f"{len(ports)} servers"
