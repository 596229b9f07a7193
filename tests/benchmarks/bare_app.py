"""The bare HTTP side: one Starlette route that returns the bytes of a file, on uvicorn set up as
ours is. `python -m tests.benchmarks.bare_app PORT FILE`; it ends when its standard input does."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


def main() -> None:
    """Serve until the parent closes our standard input."""
    port, body = int(sys.argv[1]), Path(sys.argv[2]).read_bytes()
    threading.Thread(target=_end_with_parent, daemon=True).start()

    async def state(request: Request) -> Response:
        return Response(body, media_type="application/json")

    app = Starlette(routes=[Route("/api/v1/conversations/{id}", state)])
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
