"""What `swarmstate serve --servers` needs of settings before it starts anything."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import typer

from src.agents.settings import RoomsSettings
from src.api.settings import ApiSettings
from src.cli.failures import FAILED, fail
from src.cli.supervising import Child, Supervisor, parse_span
from src.demo.processes import check_port
from src.swarm.settings import SwarmSettings


def supervise(servers: str, api: ApiSettings, *, rooms: bool) -> NoReturn:
    """Run so many servers until a signal, and end the process."""
    try:
        span = parse_span(servers)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--servers") from None
    if span.least < span.most and not rooms:
        fail("a range of servers follows the rooms that they host: give --rooms, or one number")
    if api.port == 0:
        fail("several servers need a port that the next ones follow: give --port")
    ports = range(api.port, api.port + span.most)
    for port in ports:
        check_port(port)
    swarm = SwarmSettings()
    given = swarm.server_url if "server_url" in swarm.model_fields_set else None
    hosting = RoomsSettings()
    leave = hosting.drain_timeout + hosting.recording_timeout
    drain_s = leave.total_seconds() if rooms else 0.0
    children = [Child(port, api, given, drain_s, rooms=rooms) for port in ports]
    supervisor = Supervisor(span, children, api.jwt_secret.get_secret_value())
    raise typer.Exit(0 if asyncio.run(supervisor.run()) else FAILED)
