import os
import stat
from pathlib import Path

import pytest

from src.embedded import DataDirBusy, DataDirUnusable
from src.embedded.data_dir import open_data_dir


def test_password_is_made_once_and_kept_to_the_owner(tmp_path: Path) -> None:
    with open_data_dir(tmp_path / "data") as first:
        password = first.password
    with open_data_dir(tmp_path / "data") as second:
        assert second.password == password
    assert len(password) >= 32
    assert stat.S_IMODE((tmp_path / "data" / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_two_data_folders_have_two_passwords(tmp_path: Path) -> None:
    with open_data_dir(tmp_path / "a") as a, open_data_dir(tmp_path / "b") as b:
        assert a.password != b.password


def test_open_folder_names_the_process_that_holds_it(tmp_path: Path) -> None:
    with (
        open_data_dir(tmp_path),
        pytest.raises(DataDirBusy, match=f"in use by process {os.getpid()}") as caught,
        open_data_dir(tmp_path),
    ):
        pytest.fail("two have the folder open")
    assert caught.value.pid == os.getpid()


def test_closed_folder_can_be_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        with open_data_dir(tmp_path) as opened:
            assert opened.path == tmp_path


def test_folder_below_a_file_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataDirUnusable, match="choose another data folder"),
        open_data_dir(tmp_path / "file" / "data"),
    ):
        pytest.fail("a file was taken for a folder")


def test_lost_password_is_told_before_a_server_is_started(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(DataDirUnusable, match="password is gone"), open_data_dir(tmp_path):
        pytest.fail("a new password was made for an old database")
