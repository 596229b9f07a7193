from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.services import server_folder


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with server_folder() as folder:
        yield folder
