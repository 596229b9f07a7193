import os
import pwd
import stat
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
    with open_data_dir(data_dir) as opened:
        binary, identity = choose(find_postgres(), data_dir)
        serve(opened, binary, identity)
    if identity.kind != "user":
        assert (data_dir / "postgres" / "base").stat().st_uid == os.geteuid()


def test_one_who_is_not_root_stays_who_he_is(data_dir: Path) -> None:
    binary, identity = choose(find_postgres(), data_dir)
    assert (identity.kind == "self") == (not ROOT)
    assert binary.path.exists()


@as_root
def test_root_can_hand_the_data_to_an_ordinary_user_and_back(data_dir: Path) -> None:
    with open_data_dir(data_dir) as opened:
        binary, identity = ordinary_user(find_postgres(), data_dir)
        assert serve(opened, binary, identity) == identity.uid
        assert (data_dir / "postgres" / "base").stat().st_uid == identity.uid
        assert stat.S_IMODE((data_dir / "password").stat().st_mode) == 0o600

        serve(opened, *choose(find_postgres(), data_dir))
        serve(opened, binary, identity)


@as_root
def test_binaries_in_a_closed_folder_are_copied_for_the_ordinary_user(data_dir: Path) -> None:
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
    with open_data_dir(data_dir) as opened:
        reachable, identity = ordinary_user(hidden, data_dir)
        assert reachable.path != hidden.path
        assert serve(opened, reachable, identity) == identity.uid


@as_root
def test_folder_that_the_ordinary_user_cannot_reach_is_refused(data_dir: Path) -> None:
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    folder = closed / "data"
    folder.mkdir()
    names = {entry.pw_name for entry in pwd.getpwall()} & {"postgres", "nobody"}
    with pytest.raises(DataDirUnusable, match=f"user ({'|'.join(names)}) cannot reach"):
        ordinary_user(find_postgres(), folder)
