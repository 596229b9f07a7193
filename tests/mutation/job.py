"""What one worker has to itself: a tree, a pair of servers, and the processes that fork."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutation.touches import FOLDERS
from tests.mutation.trial import UNCHANGED, Forks, Trial
from tests.support.services import open_test_servers, server_folder


class Job:
    """Opened on `stack`, which ends it."""

    def __init__(self, root: Path, work: Path, stack: ExitStack) -> None:
        self.tree = Path(stack.enter_context(TemporaryDirectory(prefix="tree-", dir=work)))
        copy_tree(root, self.tree)
        servers = stack.enter_context(open_test_servers(stack.enter_context(server_folder())))
        environment = {
            "SWARMSTATE_TEST_DATABASE_URL": servers.database_url,
            "SWARMSTATE_TEST_REDIS_URL": servers.redis_url,
        }
        self.fresh = Forks(self.tree, environment)
        stack.callback(self.fresh.close)
        # Leaves the bytecode of everything: no trial writes any.
        self._loaded = Forks(self.tree, environment, FOLDERS)
        stack.callback(self._loaded.close)

    def run(self, trial: Trial) -> str:
        """Try a mutant where all is loaded, or by a new import if that would change nothing."""
        outcome = self._loaded.run(trial)
        return self._imported(trial) if outcome == UNCHANGED else outcome

    def _imported(self, trial: Trial) -> str:
        target = self.tree / trial.module
        text, before = target.read_text(encoding="utf-8"), target.stat()
        try:
            target.write_text(trial.text, encoding="utf-8")
            return self.fresh.run(trial)
        finally:
            target.write_text(text, encoding="utf-8")
            # As old as its bytecode says.
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))


def copy_tree(root: Path, tree: Path) -> None:
    """Copy what git knows of, so that mutants never touch the files that people work on."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target)
