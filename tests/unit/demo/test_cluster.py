"""Secrets of a cluster on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from src.demo.cluster import jwt_secret, settings_given, write_private
from src.demo.errors import PortTaken
from src.demo.processes import check_port, free_ports


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    made = jwt_secret(tmp_path, make=True)
    assert len(made) >= 32
    assert jwt_secret(tmp_path, make=True) == made == jwt_secret(tmp_path)
    assert (tmp_path / "jwt_secret").stat().st_mode & 0o777 == 0o600


def test_servers_get_the_settings_but_choose_their_own_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SWARMSTATE_L1_ENTRIES", "10")
    monkeypatch.setenv("SWARMSTATE_API_PORT", "1")
    monkeypatch.setenv("OTHER", "x")
    given = settings_given()
    assert given["SWARMSTATE_L1_ENTRIES"] == "10"
    assert "SWARMSTATE_API_PORT" not in given
    assert "OTHER" not in given


def test_without_a_secret_none_is_made_up(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        jwt_secret(tmp_path)


def test_a_private_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "token"
    write_private(file, "old")
    write_private(file, "new")
    assert file.read_text() == "new\n"
    assert [one.name for one in tmp_path.iterdir()] == ["token"]


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} is taken"):
            check_port(port)


def test_free_ports_differ_and_can_be_taken() -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    for port in ports:
        check_port(port)
