"""`swarmstate user`: the first administrator, and a hand on the door without a server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from src.api.auth.accounts import person_of
from src.api.auth.forms import NewUser, Person
from src.api.auth.passwords import HASHER
from src.api.auth.principals import Role
from src.api.bodies import decoded
from src.api.ids import new_id
from src.cli.database import DEFAULT_DATA_DIR, AsJson, DataDir, ask
from src.cli.failures import fail
from src.state.errors import Refused
from src.state.records.people import People, open_people
from src.state.records.users import User

_PAGE = 200

app = typer.Typer(
    no_args_is_help=True,
    help="Users who log in with email and password: make one, list them, shut one out.",
    epilog=(
        "Servers need not run. Without SWARMSTATE_DATABASE_URL the embedded servers of the data "
        "folder are used.\n\n"
        "[bold]The first administrator[/bold]\n\n"
        "swarmstate user create --email ada@example.org --admin"
    ),
)


@app.command(
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "swarmstate user create --email ada@example.org --admin\n\n"
        "swarmstate user create --email bea@example.org --role editor --password-stdin < file"
    )
)
def create(
    email: Annotated[str, typer.Option(help="The one to log in with.")],
    admin: Annotated[bool, typer.Option("--admin", help="The same as --role admin.")] = False,
    role: Annotated[
        list[Role] | None, typer.Option(help="What it may do; may be repeated; member if left out.")
    ] = None,
    name: Annotated[str, typer.Option(help="As others see it.")] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a user; the password (12 characters or more) is asked for. Prints the id."""
    roles = list(dict.fromkeys([*([Role.ADMIN] if admin else []), *(role or [])]))
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    given = {"email": email, "password": password, "name": name, "roles": roles or [Role.MEMBER]}
    try:
        new = decoded(NewUser, given)
    except Refused as error:
        fail(f"{error.field}: {error.detail}")
    hash = HASHER.hash(password)
    names = [one.value for one in new.roles]
    made = ask(
        data_dir,
        open_people,
        lambda people: people.users.add(new_id(), new.email.lower(), new.name, names, hash),
    )
    typer.echo(made.id)


@app.command("list", epilog="[bold]Example[/bold]\n\nswarmstate user list --json | jq .")
def list_(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """List all users, in order of id."""
    people = [person_of(user) for user in ask(data_dir, open_people, _all)]
    if as_json:
        typer.echo(msgspec.json.encode(people).decode())
    else:
        _print(people)


@app.command(epilog="[bold]Example[/bold]\n\nswarmstate user disable bea@example.org")
def disable(
    user: Annotated[str, typer.Argument(help="Email or id.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Shut a user out: no login any more, and no server takes its tokens after half a second."""

    def disabled(found: User) -> User:
        return msgspec.structs.replace(found, status="disabled")

    async def work(people: People) -> User:
        found = await people.users.by_email(user.lower())
        return await people.users.govern(user if found is None else found[0].id, disabled)

    typer.echo(f"disabled {ask(data_dir, open_people, work).id}")


async def _all(people: People) -> Sequence[User]:
    found: list[User] = []
    while True:
        page = await people.users.list(found[-1].id if found else "", _PAGE)
        found += page
        if len(page) < _PAGE:
            return found


def _print(people: Sequence[Person]) -> None:
    console = Console(highlight=False)
    if not people:
        console.print("there are no users; `swarmstate user create` makes one")
        return
    table = Table("id", "email", "name", "roles", "status", "since")
    for one in people:
        since = one.created_at.isoformat(" ", "seconds")
        table.add_row(one.id, one.email, one.name, ", ".join(one.roles), one.status, since)
    console.print(table)
