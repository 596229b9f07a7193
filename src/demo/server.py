"""One server of several on this machine: `python -m src.demo.server --without [GUARD ...]`.

With `--rooms` it hosts LiveKit rooms too, as `swarmstate serve --rooms` does.

It ends with the process that started it, however that one ends: standard input is a pipe whose
other end only the parent holds. Everything else is what `swarmstate serve` does.

`--without` switches off guards of the protocol. That is what `swarmstate demo --sabotage` is
for; it is an argument of this process and no setting, so no configuration of a real server can
reach it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import fields

from src.api import serving
from src.api.logs import configure_logs
from src.api.settings import ApiSettings
from src.api.strictness import LaxSettings
from src.state.errors import TierUnavailable
from src.state.guards import Guards


def main() -> None:
    """Serve until told to stop, or until the parent is gone."""
    parser = argparse.ArgumentParser(prog="python -m src.demo.server")
    names = [field.name for field in fields(Guards)]
    parser.add_argument("--without", nargs="*", default=(), choices=names)
    parser.add_argument("--rooms", action="store_true")
    given = parser.parse_args()
    without: Sequence[str] = given.without
    threading.Thread(target=_end_with_parent, daemon=True).start()
    configure_logs(level=logging.INFO)
    try:
        # The rest comes from SWARMSTATE_*, which the parent has set.
        api = ApiSettings()
        listener = serving.listen(api.host, api.port)
        guards = Guards(**dict.fromkeys(without, False))
        settings = serving.runtime_settings(api, listener)
        rooms = _rooms() if given.rooms else None
        serving.run(api, settings, listener, guards=guards, rooms=rooms)
    except (serving.CannotListen, LaxSettings, TierUnavailable) as error:
        # The parent shows the end of our log: a trace would hide what matters.
        sys.exit(str(error))


def _rooms() -> serving.Rooms:
    # LiveKit's libraries: only for a server that hosts rooms.
    from src.agents.opening import Rooms

    return Rooms()


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
