"""The command line itself: help that teaches, and tokens."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from src.api.auth.tokens import Tokens
from src.cli.commands import app

SECRET = "s" * 40
COMMANDS = ("dev", "serve", "migrate", "token", "user", "doctor", "quarantine", "queue", "demo")


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments, env=environment)
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def test_help_names_every_command_and_the_first_steps() -> None:
    code, out, _ = run("--help")
    assert code == 0
    for command in COMMANDS:
        assert command in out
    assert "First steps" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_shows_how_it_is_used(command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"swarmstate {command}" in out


def test_a_token_is_one_that_servers_believe() -> None:
    code, out, _ = run(
        "token",
        "--user",
        "zoe",
        "--role",
        "viewer",
        "--role",
        "editor",
        "--expires",
        "2h",
        SWARMSTATE_API_JWT_SECRET=SECRET,
    )
    assert code == 0
    caller = Tokens(SECRET).verify(out.strip().encode())
    assert (caller.id, {*caller.roles}) == ("zoe", {"viewer", "editor"})
    claims = jwt.decode(out.strip(), SECRET, algorithms=["HS256"], audience="swarmstate")
    assert claims["exp"] - claims["iat"] == 7200


def test_a_token_is_a_member_s_for_half_an_hour_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "jwt_secret").write_text(SECRET + "\n")
    code, out, _ = run("token", "--data-dir", str(tmp_path))
    assert code == 0
    claims = jwt.decode(out.strip(), SECRET, algorithms=["HS256"], audience="swarmstate")
    assert claims["roles"] == ["member"]
    assert claims["exp"] - claims["iat"] == 1800


def test_without_a_secret_no_token_is_made(tmp_path: Path) -> None:
    code, out, err = run("token", "--data-dir", str(tmp_path))
    assert (code, out) == (1, "")
    assert "SWARMSTATE_API_JWT_SECRET" in err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--user", "no one"), "subject"),
        (("--expires", "soon"), "30m"),
        (("--role", "king"), "king"),
    ],
)
def test_a_bad_token_request_says_why(arguments: tuple[str, str], why: str) -> None:
    code, out, err = run("token", *arguments, SWARMSTATE_API_JWT_SECRET=SECRET)
    assert code != 0
    assert out == ""
    assert why in err


def test_a_meeting_that_cannot_be_played_starts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "meeting.json"
    file.write_text("{}")
    code, out, err = run("demo", "--json", "--meeting", str(file))
    assert (code, out) == (1, "")
    assert "is no meeting" in err


def test_a_guard_that_no_act_misses_is_shown_by_a_test_that_is_named() -> None:
    code, _, error = run("demo", "--sabotage", "recount")
    assert code == 2
    assert "tests/guards/test_owning.py" in error


def test_an_unknown_guard_is_told_which_there_are() -> None:
    code, _, error = run("demo", "--sabotage", "luck")
    assert code == 2
    assert "watermark, whole" in error
