"""The commands, one function each: options in, a room below opened, failures explained."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.console import Console

from src.api import serving
from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from src.api.logs import configure_logs
from src.api.settings import ApiSettings
from src.cli import dev as development
from src.cli import erasing, quarantine, queue, user
from src.cli.database import DEFAULT_DATA_DIR
from src.cli.doctor import examine, healthy, show
from src.cli.failures import FAILED, check_settings, explained, fail, reaching
from src.cli.supervise import supervise
from src.demo.cluster import (
    DATABASE_URL,
    JWT_SECRET,
    REDIS_URL,
    jwt_secret,
    open_stores,
    settings_given,
)
from src.demo.meeting import BUILT_IN, load_meeting
from src.demo.processes import check_port
from src.demo.promises import ELSEWHERE, Guard, Outcome
from src.demo.screen import Audience, Screen
from src.demo.show import perform
from src.embedded import open_servers
from src.state.durations import parse_duration
from src.state.settings import StateSettings
from src.state.tiers.migrations import migrate as migrate_database

_SETTINGS_HELP = (
    "Settings come from SWARMSTATE_*: SWARMSTATE_DATABASE_URL, SWARMSTATE_REDIS_URL and "
    "SWARMSTATE_API_JWT_SECRET are needed, all others have defaults."
)

app = typer.Typer(
    name="swarmstate",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    help="The state backbone of multi-bot voice rooms: one conversation state, many servers.",
    epilog=(
        "[bold]First steps[/bold]\n\n"
        "swarmstate demo            see every promise kept, kill -9 included (about a minute)\n\n"
        "swarmstate dev             two servers with their own PostgreSQL and Redis\n\n"
        "swarmstate doctor          is this database, is this Redis fit for it?\n\n"
        "swarmstate migrate && swarmstate serve   the real thing, on your own servers"
    ),
)

app.add_typer(quarantine.app, name="quarantine")
app.add_typer(queue.app, name="queue")
app.add_typer(user.app, name="user")
app.command(epilog=erasing.SWEEP_EXAMPLE)(erasing.sweep)
app.command(epilog=erasing.ERASE_EXAMPLE)(erasing.erase)

DataDir = Annotated[
    Path,
    typer.Option(
        envvar="SWARMSTATE_DATA_DIR",
        help="Folder of the embedded servers, their logs and secrets.",
    ),
]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="Port of the first server.")]


@app.command(
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "swarmstate dev\n\n"
        "swarmstate dev --servers 3 --port 9000     on 9000, 9001 and 9002\n\n"
        "SWARMSTATE_DATABASE_URL=postgresql://... swarmstate dev     on your own PostgreSQL"
    )
)
def dev(
    servers: Annotated[int, typer.Option(min=1, max=16, help="How many servers.")] = 2,
    port: Port = 8080,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    rooms: Annotated[bool, typer.Option(help="Host voice rooms, or leave LiveKit out.")] = True,
) -> None:
    """Run a cluster on this machine: PostgreSQL and Redis unless their URLs are set, and servers.

    They host voice rooms too, on the LiveKit that is set, else on one of their own where
    livekit-server is found. A server that dies is restarted. Ctrl-C drains all of them; what was
    acknowledged is kept in the data folder for the next time.
    """
    console = Console(highlight=False)
    ports = range(port, port + servers)
    settings = settings_given()
    with explained():
        for one in ports:
            check_port(one)
        with (
            reaching(settings.get(DATABASE_URL, "")),
            open_stores(data_dir, settings) as stores,
            development.open_rooms(stores, settings, ports, console, wanted=rooms) as media,
        ):
            asyncio.run(development.keep_running(stores, ports, media, console))


@app.command(
    epilog=(
        f"{_SETTINGS_HELP}\n\n[bold]Examples[/bold]\n\n"
        "swarmstate serve\n\n"
        "swarmstate serve --host 0.0.0.0 --port 8081\n\n"
        "swarmstate serve --rooms --servers 2:6     two to six, on 8080 to 8085\n\n"
        "SWARMSTATE_LIVEKIT_URL=wss://... swarmstate serve --rooms     host swarms in rooms too\n\n"
        "SIGTERM drains: requests under way are answered, what is dirty is flushed, and what this "
        "server owned is given to the others."
    )
)
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")
    ] = None,
    rooms: Annotated[
        bool, typer.Option("--rooms", help="Host rooms and calls too; loads LiveKit's libraries.")
    ] = False,
    servers: Annotated[
        str | None,
        typer.Option(metavar="N|MIN:MAX", help="So many, on this port and the next ones."),
    ] = None,
) -> None:
    """Run a server on the PostgreSQL and Redis that the settings name, or several with --servers.

    With --servers whatever dies is started anew, and SIGTERM drains all. MIN:MAX servers follow
    the rooms that there are and that wait; one that hosts a room is not stopped for being too many.
    """
    configure_logs()
    with explained():
        check_settings()
        if servers is not None:
            supervise(servers, ApiSettings(**_given(host=host, port=port)), rooms=rooms)
        hosted = _rooms() if rooms else None
        api = ApiSettings(**_given(host=host, port=port))
        listener = serving.listen(api.host, api.port)
        serving.run(api, serving.runtime_settings(api, listener), listener, rooms=hosted)


def _rooms() -> serving.Rooms:
    # Two seconds and 140 MB of LiveKit's libraries: only for a server that hosts rooms.
    from src.agents.errors import AgentsError
    from src.agents.opening import Rooms

    try:
        return Rooms()
    except AgentsError as error:
        fail(str(error))


@app.command(
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "SWARMSTATE_DATABASE_URL=... swarmstate migrate\n\n"
        "swarmstate migrate --service-role swarm --erase-role swarm_eraser     roles that exist"
    )
)
def migrate(
    service_role: Annotated[
        str | None,
        typer.Option(help="Role of the servers: may do all but change or delete events."),
    ] = None,
    erase_role: Annotated[
        str | None, typer.Option(help="Role of SWARMSTATE_ERASE_DATABASE_URL: may delete events.")
    ] = None,
) -> None:
    """Bring the database to this release's tables; does nothing when it is there already."""
    with explained():
        url = _database_url()
        with reaching(url):
            migrate_database(url, service_role=service_role, erase_role=erase_role)
    Console().print("the database is up to date", style="green")


@app.command(
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "swarmstate token --user zoe                        a member, for 30 minutes\n\n"
        "swarmstate token --user ops --role viewer --role editor --expires 12h\n\n"
        "Signed with SWARMSTATE_API_JWT_SECRET, else with the secret of `swarmstate dev` in the "
        "data folder."
    )
)
def token(
    user: Annotated[str, typer.Option(help="Whom the token names.")] = "dev",
    role: Annotated[list[Role], typer.Option(help="What it may do; may be repeated.")] = [  # noqa: B006  # typer copies it
        Role.MEMBER
    ],
    expires: Annotated[
        timedelta, typer.Option(parser=parse_duration, help="Such as 90s, 30m, 12h, 7d.")
    ] = "30m",  # type: ignore[assignment]  # typer parses defaults too
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Print a token for the API."""
    try:
        secret = os.environ.get(JWT_SECRET) or jwt_secret(data_dir)
    except OSError:
        fail(
            f"there is no secret to sign with: set {JWT_SECRET}, or run `swarmstate dev` once "
            f"(it makes one in {data_dir})"
        )
    try:
        typer.echo(issue_token(secret, user, role, lifetime=expires))
    except ValueError as error:
        fail(str(error))


@app.command(
    epilog=(
        "Without URLs in the settings it examines the embedded servers of the data folder.\n\n"
        "[bold]Example[/bold]\n\n"
        "SWARMSTATE_DATABASE_URL=... SWARMSTATE_REDIS_URL=... swarmstate doctor\n\n"
        "Exit code 1 if a promise does not hold on these stores."
    )
)
def doctor(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Examine PostgreSQL and Redis: versions, durability, eviction, isolation, schema, clocks."""
    database, redis = os.environ.get(DATABASE_URL), os.environ.get(REDIS_URL)
    with explained(), open_servers(data_dir, database_url=database, redis_url=redis) as servers:
        findings = asyncio.run(examine(servers.database_url, servers.redis_url))
    show(findings, Console(highlight=False))
    raise typer.Exit(0 if healthy(findings) else FAILED)


@app.command(
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "swarmstate demo\n\n"
        "swarmstate demo --json | jq .promises\n\n"
        "swarmstate demo --meeting transcript.json --turns 60\n\n"
        "swarmstate demo --sabotage epoch     switch a guard off and see which promise breaks\n\n"
        "swarmstate demo --voice     bots and people in a room of LiveKit, by what they hear\n\n"
        "Exit code 0 only if every promise was kept."
    )
)
def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output, and nothing else.")
    ] = False,
    meeting: Annotated[
        Path | None,
        typer.Option(help="Transcript to play: {meeting, turns: [{speaker, text}]}."),
    ] = None,
    sabotage: Annotated[
        Guard | None,
        typer.Option(
            parser=_guard,
            metavar="GUARD",
            help=f"Run the servers without this guard ({', '.join(Guard)}); a promise breaks.",
        ),
    ] = None,
    turns: Annotated[
        int, typer.Option(min=1, max=10_000, help="Turns of the meeting at most.")
    ] = 60,
    voice: Annotated[
        bool, typer.Option("--voice", help="The promises of voice rooms, on a real LiveKit.")
    ] = False,
) -> None:
    """Start two servers, play a meeting with three bots, and check every promise from outside.

    Counts come from PostgreSQL's statistics, Redis' command statistics, the rows of the log, and
    a ledger that the client keeps; never from the servers' own word. With voices: from the sound
    that two people hear, and from the API.
    """
    screen = Screen(Console(highlight=False))
    audience = Audience() if as_json else screen
    began = time.monotonic()
    with explained():
        if voice:
            outcome = _perform_with_voices(audience)
        else:
            played = (BUILT_IN if meeting is None else load_meeting(meeting)).first(turns)
            outcome = perform(played, audience, sabotage=sabotage)
    if as_json:
        typer.echo(outcome.as_json())
    else:
        screen.outcome(outcome, time.monotonic() - began)
    raise typer.Exit(0 if outcome.kept else FAILED)


def _perform_with_voices(audience: Audience) -> Outcome:
    # LiveKit's libraries, for this alone.
    from src.demo.voice.show import perform

    return perform(audience)


def _guard(name: str) -> Guard:
    """Read the name of a guard that an act of the demonstration misses."""
    if name in ELSEWHERE:
        why = f"no act of the demonstration meets what {name!r} guards against; see "
        raise typer.BadParameter(f"{why}`pytest {ELSEWHERE[name]}`")
    try:
        return Guard(name)
    except ValueError:
        raise typer.BadParameter(f"no guard is called {name!r}; try {', '.join(Guard)}") from None


def _given(**options: object) -> dict[str, Any]:  # keywords of a settings class
    """Keep the options that were given: they win over the environment."""
    return {name: value for name, value in options.items() if value is not None}


def _database_url() -> str:
    """Return the database's URL; the rest of the settings is not needed to migrate."""
    redis = SecretStr("redis://unused")
    return StateSettings(redis_url=redis).database_url.get_secret_value()


def main() -> None:
    """Run the command line."""
    app()
