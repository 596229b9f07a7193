"""deploy/nginx.conf, run by the real nginx before two stand-ins for servers.

Where nginx is not installed these tests are skipped, except in CI.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import msgspec
import pytest
import uvicorn
from aiohttp import web
from ruamel.yaml import YAML

from src.api.problems import Problem
from src.api.settings import ApiSettings
from src.embedded.service import free_port
from tests.support.nginx import (
    CONF,
    NGINX,
    START_WITHIN_S,
    moved,
    needs_nginx,
    running,
)
from tests.unit.deploy.names import ROOT

SERVICES = YAML(typ="safe").load(ROOT / "deploy" / "compose.yaml")["services"]


class StandIn:
    """One server behind nginx: says who it is and what it was sent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[web.Request] = []
        self.go_on = asyncio.Event()
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if request.path == "/break":
            await request.read()
            assert request.transport is not None
            request.transport.abort()
        if request.path.endswith("/stream"):
            return await self._stream(request)
        if request.path == "/ws/live":
            return await self._live(request)
        body = await request.read()
        return web.json_response(
            {"server": self.name, "bytes": len(body), "headers": dict(request.headers)}
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        await response.write(b"id: 1\n\n")
        await self.go_on.wait()
        await response.write(b"id: 2\n\n")
        return response

    async def _live(self, request: web.Request) -> web.StreamResponse:
        live = web.WebSocketResponse()
        await live.prepare(request)
        async for message in live:
            await live.send_str(f"heard {message.data}")
        return live


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[StandIn]:
    stand_in = StandIn(name)
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", stand_in.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stand_in.port = runner.addresses[0][1]
    try:
        yield stand_in
    finally:
        await runner.cleanup()


class Cluster:
    """nginx and the two behind it."""

    def __init__(
        self,
        client: aiohttp.ClientSession,
        port: int,
        servers: list[StandIn],
        nginx: subprocess.Popen[bytes],
        log: Path,
    ) -> None:
        self.client = client
        self.port = port
        self._nginx = nginx
        self.servers = servers
        self._log = log

    @property
    def paths(self) -> list[str]:
        return [one.path for server in self.servers for one in server.seen]

    def final_log(self) -> str:
        """Stop nginx, which writes its line after the answer, and read what it logged."""
        self._nginx.send_signal(signal.SIGQUIT)
        self._nginx.wait(START_WITHIN_S)
        return self._log.read_text()


@asynccontextmanager
async def behind_nginx(folder: Path, *, second_listens: bool) -> AsyncIterator[Cluster]:
    port = free_port()
    async with opened("server-1") as first, opened("server-2") as second:
        other = second.port if second_listens else free_port()
        with running(moved(folder, port, first.port, other), port) as nginx:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
                yield Cluster(client, port, [first, second], nginx, folder / "access.log")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with behind_nginx(tmp_path, second_listens=True) as opened_cluster:
        yield opened_cluster


@pytest.fixture
async def one_server_down(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with behind_nginx(tmp_path, second_listens=False) as opened_cluster:
        yield opened_cluster


def test_upstreams_are_the_servers_of_the_compose_file() -> None:
    servers = re.findall(r"^\s+server (\S+:\d+) ", CONF, re.MULTILINE)
    urls = [
        one["environment"]["SWARMSTATE_SERVER_URL"]
        for one in SERVICES.values()
        if "SWARMSTATE_SERVER_URL" in one.get("environment", {})
    ]
    assert [f"http://{server}" for server in servers] == urls


def test_listens_where_the_compose_file_publishes() -> None:
    (port,) = re.findall(r"listen (\d+);", CONF)
    assert SERVICES["nginx"]["ports"][0].endswith(f":{port}")


def test_errors_of_nginx_have_the_shape_of_the_others() -> None:
    bodies = re.findall(r"return (\d+) '(\{.*\})';", CONF)
    assert len(bodies) == 5
    for status, body in bodies:
        problem = msgspec.json.decode(body, type=Problem)
        assert problem.status == int(status)
        assert problem.type == f"urn:swarmstate:problem:{problem.code}"


def test_silence_of_a_stream_is_shorter_than_patience() -> None:
    (patience,) = re.findall(r"proxy_read_timeout (\d+)s;", CONF)
    assert ApiSettings.model_fields["keep_alive"].default.total_seconds() < int(patience)


def test_idle_connections_are_dropped_by_nginx_before_the_server_does() -> None:
    (idle,) = re.findall(r"keepalive_timeout (\d+)s;\n    }", CONF)
    assert int(idle) < inspect.signature(uvicorn.Config).parameters["timeout_keep_alive"].default


@needs_nginx
def test_nginx_takes_the_file(tmp_path: Path) -> None:
    conf = moved(tmp_path, 8080, 18081, 18082)
    assert NGINX is not None, "CI must install nginx"
    done = subprocess.run(
        [NGINX, "-t", "-e", "stderr", "-c", conf], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


@needs_nginx
async def test_requests_go_to_the_servers_in_turn(cluster: Cluster) -> None:
    for _ in range(10):
        async with cluster.client.get("/api/v1/bots") as response:
            assert response.status == 200
    assert [len(server.seen) for server in cluster.servers] == [5, 5]


@needs_nginx
async def test_connections_to_servers_are_used_again(cluster: Cluster) -> None:
    for _ in range(10):
        async with cluster.client.get("/api/v1/bots") as response:
            await response.read()
    peers = {one.transport for server in cluster.servers for one in server.seen}
    assert len(peers) == 2


@needs_nginx
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_request_for_a_dead_server_is_answered_by_the_other(
    one_server_down: Cluster, method: str
) -> None:
    for _ in range(4):
        async with one_server_down.client.request(method, "/api/v1/bots") as response:
            assert (response.status, (await response.json())["server"]) == (200, "server-1")


@needs_nginx
async def test_read_that_broke_is_sent_to_the_other_server(cluster: Cluster) -> None:
    async with cluster.client.get("/break") as response:
        # Both stand-ins break it: what counts is that each was asked once.
        assert response.status == 503
    assert [len(server.seen) for server in cluster.servers] == [1, 1]


@needs_nginx
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_write_that_broke_is_never_sent_twice(cluster: Cluster, method: str) -> None:
    async with cluster.client.request(method, "/break", data=b"{}") as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert response.content_type == "application/problem+json"
        answer = await response.json()
    assert (answer["status"], answer["code"]) == (503, "outcome_unknown")
    assert cluster.paths == ["/break"]


@needs_nginx
async def test_event_arrives_while_its_stream_goes_on(cluster: Cluster) -> None:
    async with cluster.client.get("/api/v1/conversations/c1/stream") as response:
        assert await response.content.readuntil(b"\n\n") == b"id: 1\n\n"
        for server in cluster.servers:
            server.go_on.set()
        assert await response.content.read() == b"id: 2\n\n"


@needs_nginx
async def test_live_session_passes(cluster: Cluster) -> None:
    async with cluster.client.ws_connect("/ws/live?token=t0ken") as live:
        await live.send_str("hello")
        assert await live.receive_str() == "heard hello"


@needs_nginx
async def test_client_cannot_invent_its_address(cluster: Cluster) -> None:
    forged = {"X-Forwarded-For": "10.1.2.3", "X-Real-IP": "10.1.2.3", "X-Forwarded-Proto": "https"}
    async with cluster.client.get("/api/v1/bots", headers=forged) as response:
        seen = (await response.json())["headers"]
    assert {name: seen[name] for name in forged} == {
        "X-Forwarded-For": "127.0.0.1",
        "X-Real-IP": "127.0.0.1",
        "X-Forwarded-Proto": "http",
    }


@needs_nginx
async def test_body_over_the_servers_limit_is_left_to_the_server(cluster: Cluster) -> None:
    size = ApiSettings.model_fields["max_body_bytes"].default + 1
    async with cluster.client.post("/api/v1/bots", data=BytesIO(b"x" * size)) as response:
        assert (response.status, (await response.json())["bytes"]) == (200, size)


@needs_nginx
async def test_body_far_over_the_limit_reaches_no_server(cluster: Cluster) -> None:
    async with cluster.client.post("/api/v1/bots", data=BytesIO(b"x" * 3_000_000)) as response:
        assert (response.status, response.content_type) == (413, "application/problem+json")
        assert (await response.json())["code"] == "body_too_large"
    assert cluster.paths == []


async def by_hand(cluster: Cluster, beginning: str) -> bytes:
    """Send what a client library would tidy up, and return the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port)
    writer.write(f"{beginning}Host: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@needs_nginx
@pytest.mark.parametrize(
    ("beginning", "status"),
    [
        ("GET /api/v1/bots/%00 HTTP/1.1\r\n", 400),
        ("GET /api/v1/bots HTTP/1.1\r\nno header\r\n: \r\nHost: y\r\n", 400),
        (f"GET /{'x' * 40_000} HTTP/1.1\r\n", 400),
        (f"GET / HTTP/1.1\r\nCookie: {'x' * 40_000}\r\n", 400),
        ("TRACE /api/v1/bots HTTP/1.1\r\n", 405),
    ],
    ids=["path", "headers", "long-path", "long-header", "method"],
)
async def test_request_that_nginx_does_not_pass_on_is_answered_in_the_shape_of_the_others(
    cluster: Cluster, beginning: str, status: int
) -> None:
    head, _, body = (await by_hand(cluster, beginning)).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Type: application/problem+json" in head
    assert msgspec.json.decode(body, type=Problem).status == status
    assert cluster.paths == []


@needs_nginx
@pytest.mark.parametrize(
    "path",
    [
        "/internal/v1/conversations/c1/commands",
        "//internal/v1/conversations/c1/commands",
        "/%69nternal/v1/conversations/c1/commands",
        "/api/..%2finternal/v1/conversations/c1/commands",
        "/api/../internal/v1/conversations/c1/commands",
    ],
)
async def test_routes_between_servers_are_not_to_be_reached(cluster: Cluster, path: str) -> None:
    answer = await by_hand(cluster, f"POST {path} HTTP/1.1\r\nContent-Length: 0\r\n")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in answer
    assert cluster.paths == []


@needs_nginx
async def test_tokens_of_live_sessions_stay_out_of_the_log(cluster: Cluster) -> None:
    async with cluster.client.ws_connect("/ws/live?token=t0ken") as live:
        await live.send_str("hello")
        await live.receive_str()
    async with cluster.client.get("/api/v1/bots?token=t0ken") as response:
        await response.read()
    log = cluster.final_log()
    assert "/ws/live" in log
    assert "/api/v1/bots" in log
    assert "t0ken" not in log
