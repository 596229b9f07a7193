"""PostgreSQL in a data folder: made once by initdb, then started on a loopback port."""

import shutil
import signal
from pathlib import Path

from src.embedded.binaries import Binary, has_extension
from src.embedded.data_dir import DataDir
from src.embedded.errors import DataDirUnusable, StartFailed
from src.embedded.identity import give
from src.embedded.process import Identity, Order, run

USER = "swarmstate"
DATABASE = "swarmstate"
STOP = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))
"""Fast shutdown (sessions are ended, a checkpoint is written), then the immediate one."""
READY_LINE = 7
"""Line of postmaster.pid, from 0, that says how far the start has come; pg_ctl reads it too."""


class Postgres:
    """The recipe for a PostgreSQL server; see `Recipe`."""

    name = "postgres"

    def __init__(
        self, binary: Binary, data_dir: DataDir, identity: Identity, *, durable: bool
    ) -> None:
        self._binary = binary
        self._data_dir = data_dir
        self._identity = identity
        self._durable = durable
        self._folder = data_dir.path / self.name

    @property
    def program(self) -> str:
        return str(self._binary)

    def url(self, port: int) -> str:
        return f"postgresql://{USER}:{self._data_dir.password}@127.0.0.1:{port}/{DATABASE}"

    def prepare(self) -> None:
        """Make the cluster at first; later, see that these binaries can read it.

        Raises:
            DataDirUnusable: it was made by another major version.
            StartFailed: initdb failed.
        """
        if not self._folder.exists():
            self._create()
            return
        made_by = (self._folder / "PG_VERSION").read_text().strip()
        if made_by != str(self._binary.major):
            raise DataDirUnusable(
                f"{self._folder} was made by PostgreSQL {made_by}, but the binaries are "
                f"{self._binary}; use PostgreSQL {made_by} (SWARMSTATE_EMBEDDED_POSTGRES can be "
                "'wheel' or 'system'), carry the data over with pg_dump, "
                "or choose another data folder"
            )
        give([self._folder], self._identity)
        self._forget_the_dead()

    def order(self, port: int, log: Path) -> Order:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            # A path of a socket may have about 100 characters; a data folder may have more.
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "track_counts": "on",
            "logging_collector": "off",
        }
        if has_extension(self._binary, "pg_stat_statements"):
            settings["shared_preload_libraries"] = "pg_stat_statements"
        if not self._durable:
            # What a killed server wrote stays in the kernel's cache; synchronous_commit must stay
            # on, since without it a kill loses commits that were acknowledged.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Order(
            command=(str(self._binary.path), "-D", str(self._folder), *arguments),
            folder=self._folder,
            log=log,
            stop=STOP,
            identity=self._identity,
        )

    def ready(self, pid: int, port: int) -> bool:
        try:
            lines = (self._folder / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # A killed server leaves its file behind: only the pid tells whose it is.
        return (
            len(lines) > READY_LINE
            and lines[0] == str(pid)
            and lines[READY_LINE].strip() == "ready"
        )

    def _create(self) -> None:
        """Build the cluster aside and move it in place whole, so that none is ever half-made."""
        draft = self._data_dir.path / "postgres.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        give([draft], self._identity)
        initdb = [str(self._binary.path.with_name("initdb")), "-D", str(draft)]
        initdb += ["-U", USER, "--auth=scram-sha-256", "--pwfile=/dev/stdin"]
        initdb += ["--encoding=UTF8", "--locale=C"]
        if not self._durable:
            initdb.append("--no-sync")
        self._run(initdb, self._data_dir.password + "\n")
        # Before the server is first started, so that no password has to be sent and no client is
        # needed.
        single = [str(self._binary.path), "--single", "-D", str(draft), "postgres"]
        output = self._run(single, f"CREATE DATABASE {DATABASE};\n")
        if "ERROR" in output or "FATAL" in output:
            raise StartFailed(f"database {DATABASE} could not be created", self._draft_log)
        draft.rename(self._folder)

    def _forget_the_dead(self) -> None:
        """Remove the pid file of a killed server if its number lives on in a zombie or a stranger.

        PostgreSQL sees only that the number is taken and would refuse to start, which happens
        where nobody reaps orphans, and in a restarted container, whose numbers begin anew.
        """
        file = self._folder / "postmaster.pid"
        if not file.exists() or not Path("/proc/self/cmdline").exists():
            return
        pid = file.read_text().partition("\n")[0]
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return
        if b"postgres" not in command:
            file.unlink()

    def _run(self, command: list[str], text: str) -> str:
        return run(
            Order(
                command=tuple(command),
                folder=self._data_dir.path,
                log=self._draft_log,
                stop=((signal.SIGTERM, 5.0),),
                identity=self._identity,
                input=text,
            )
        )

    @property
    def _draft_log(self) -> Path:
        return self._data_dir.path / "postgres.init.log"
