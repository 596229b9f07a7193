"""`swarmstate user` on a real database: the first administrator, the list, the closed door."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from src.cli.commands import app
from tests.support.embedding import query

PASSWORD = "correct horse battery"


def run(database_url: str, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    environment = {"SWARMSTATE_DATABASE_URL": database_url}
    result = CliRunner().invoke(app, ["user", *arguments], input=stdin, env=environment)
    return result.exit_code, result.stdout.strip(), " ".join(result.stderr.split())


def listed(database_url: str) -> list[dict[str, Any]]:
    code, out, _ = run(database_url, "list", "--json")
    assert code == 0
    users: list[dict[str, Any]] = json.loads(out)
    return users


def test_the_first_administrator_is_made_without_a_server(database_url: str) -> None:
    given = ("create", "--email", "Ada@Example.org", "--admin", "--password-stdin")
    code, id, _ = run(database_url, *given, stdin=f"{PASSWORD}\n")

    assert code == 0
    (ada,) = listed(database_url)
    assert (ada["id"], ada["email"]) == (id, "ada@example.org")
    assert (ada["roles"], ada["status"]) == (["admin"], "active")
    kept = query(database_url, "SELECT password FROM users")
    assert isinstance(kept, str)
    assert kept.startswith("$argon2id$")


def test_the_password_is_asked_for_twice_and_not_shown(database_url: str) -> None:
    code, out, _ = run(
        database_url, "create", "--email", "a@example.org", stdin=f"{PASSWORD}\n{PASSWORD}\n"
    )

    assert code == 0
    assert PASSWORD not in out
    assert [user["roles"] for user in listed(database_url)] == [["member"]]


def test_what_is_not_in_order_is_said_and_nothing_is_made(database_url: str) -> None:
    short = run(
        database_url, "create", "--email", "a@example.org", "--password-stdin", stdin="short\n"
    )
    nowhere = run(database_url, "create", "--email", "ada", "--password-stdin", stdin=PASSWORD)

    assert (short[0], nowhere[0]) == (1, 1)
    assert "password: " in short[2]
    assert "email: " in nowhere[2]
    assert listed(database_url) == []


def test_an_email_is_used_once(database_url: str) -> None:
    given = ("create", "--email", "ada@example.org", "--password-stdin")
    assert run(database_url, *given, stdin=PASSWORD)[0] == 0

    code, _, error = run(database_url, *given, stdin=PASSWORD)

    assert code == 1
    assert "already" in error


def test_who_is_disabled_is_told_to_all_servers_through_the_outbox(database_url: str) -> None:
    given = ("create", "--email", "bea@example.org", "--password-stdin")
    _, id, _ = run(database_url, *given, stdin=PASSWORD)

    code, out, _ = run(database_url, "disable", "BEA@example.org")

    assert (code, out) == (0, f"disabled {id}")
    assert [user["status"] for user in listed(database_url)] == ["disabled"]
    assert query(database_url, "SELECT array_agg(kind || ' ' || id) FROM outbox") == [
        f"revoked_user {id}"
    ]
    assert run(database_url, "disable", id)[0] == 0
    code, _, error = run(database_url, "disable", "nobody")
    assert code == 1
    assert "nobody" in error
