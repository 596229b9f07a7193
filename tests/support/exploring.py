"""Requests made from the OpenAPI document, by schemathesis: every check, in every phase."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import httpx
import msgspec
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

PHASES = ("examples", "coverage", "fuzzing", "stateful")

_STORABLE = r"^[^\u0000]*$"
_ANSWER_WITHIN_S = 20
_AUTH = "/api/v1/auth"
_ENTRANCE = "/api/token"
_STREAMS = "/(stream|changes)$"
_REF = re.compile(r'"#/components/schemas/(\w+)"')
_UPLOADS = "/files$"
_WEBHOOKS = "/webhooks"


class Explored:
    """What was seen: statuses of each operation, and what failed, with the request to repeat it."""

    def __init__(self) -> None:
        self.statuses: dict[str, Counter[int]] = {}
        self.failures: dict[str, str] = {}
        """First of each operation, check and kind."""

    def unreached(self) -> list[str]:
        """Return the operations that never answered with a 2xx."""
        return [
            name for name, seen in self.statuses.items() if not any(n // 100 == 2 for n in seen)
        ]

    def __str__(self) -> str:
        return "\n".join(
            f"{name:<60} {'  '.join(f'{status}: {n}' for status, n in sorted(seen.items()))}"
            for name, seen in self.statuses.items()
        )

    def take(self, event: events.EngineEvent) -> None:
        """Keep what an event of schemathesis tells."""
        if isinstance(event, events.ScenarioFinished):
            self._take(event.recorder)
        elif isinstance(event, events.NonFatalError):
            self.failures.setdefault(event.label, event.info.format())
        elif isinstance(event, events.FatalError):
            raise event.exception

    def _take(self, recorder: ScenarioRecorder) -> None:
        for id, interaction in recorder.interactions.items():
            if interaction.response is not None:
                label = recorder.cases[id].value.operation.label
                self.statuses[label][interaction.response.status_code] += 1
        for id, checks in recorder.checks.items():
            for check in checks:
                if check.status is Status.FAILURE and check.failure_info is not None:
                    failure, request = check.failure_info.failure, check.failure_info.code_sample
                    name = f"{recorder.cases[id].value.operation.label}: {failure.title}"
                    answered = recorder.interactions.get(id)
                    answer = answered.response.text if answered and answered.response else ""
                    story = (check.name, failure.message, request[:2_000], answer[:1_000])
                    self.failures.setdefault(name, "\n".join(story))


def explore(
    document: Mapping[str, Any],
    url: str,
    token: str,
    *,
    maker: str | None,
    leaver: str,
    seed: int,
    examples: int,
    phases: Collection[str] = PHASES,
    covered: str = "",
) -> Explored:
    """Send requests made from the document to the server at `url`; blocks.

    `maker` is a token that may make everything, None if `token` may: what it makes stands in the
    examples. `leaver` is one to log out with, since that is its end.
    `covered` is a pattern of the paths that coverage asks; to all it sends thousands of requests.
    `examples` is how many requests each operation gets where they are drawn; there are ten times
    as many chains of requests over all operations.
    """
    found = Explored()
    document, made = _with_made(document, url, maker or token)
    if maker is None:
        for operation, status in made.items():
            found.statuses[operation] = Counter([status])
    for part in ({"coverage"}, set(PHASES) - {"coverage"}):
        chosen = part & set(phases)
        if chosen:
            covers = "coverage" in chosen
            plain = _plain(
                _shallow(document, covered) if covers else document, with_headers=not covers
            )
            config = _config(url, token, leaver, seed, examples, chosen)
            schema = schemathesis.openapi.from_dict(plain, config=config)
            for path, operations in plain["paths"].items():
                for method in operations:
                    found.statuses.setdefault(f"{method.upper()} {path}", Counter())
            for event in from_schema(schema).execute():
                found.take(event)
    return found


def _with_made(
    document: Mapping[str, Any], url: str, token: str
) -> tuple[Mapping[str, Any], Mapping[str, int]]:
    """Return the document with examples that only the server can give: ids of what is made for it
    here, and a refresh token; and what the operations answered that made them.
    """
    made = copy.deepcopy(dict(document))
    answered: dict[str, int] = {}
    paths = made["paths"]
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=_ANSWER_WITHIN_S
    ) as client:
        # Not the conversation and the room of the examples, which some of them delete.
        client.post("/api/v1/conversations", json={"id": "kept"})
        client.post("/api/v1/rooms", json={"id": "kept-room", "name": "Kept"})
        for path, operations in paths.items():
            below = [one for one in paths if one.startswith(f"{path}/{{")]
            post = operations.get("post", {})
            for kind, content in post.get("requestBody", {}).get("content", {}).items():
                example = content.get("example")
                if not below or "201" not in post["responses"] or "id" in example:
                    continue
                body = example if isinstance(example, str) else msgspec.json.encode(example)
                answer = client.post(
                    path,
                    content=body,
                    params={"conversation_id": "kept"},
                    headers={"Content-Type": kind},
                )
                answered[f"POST {path}"] = answer.status_code
                for operation in (each for one in below for each in paths[one].values()):
                    parameter, said = operation["parameters"][0], answer.json()
                    parameter["example"] = said.get(parameter["name"]) or said.get("id", "none")
        person = {"email": "kept@example.org", "password": "correct horse battery"}
        client.post(f"{_AUTH}/register", json=person)
        known = client.post(f"{_AUTH}/login", json=person).json()
    for parameter in paths[_ENTRANCE]["get"]["parameters"]:
        if parameter["name"] == "room":
            parameter["example"] = "kept-room"
    refresh = paths[f"{_AUTH}/refresh"]["post"]["requestBody"]["content"]["application/json"]
    refresh["example"] = {"refresh_token": known["refresh_token"]}
    return made, answered


def _config(
    url: str, token: str, leaver: str, seed: int, examples: int, phases: Collection[str]
) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            # How long an example takes is the machine's business.
            "suppress-health-check": ["too_slow"],
            "base-url": url,
            "headers": {"Authorization": f"Bearer {token}"},
            "request-timeout": _ANSWER_WITHIN_S,
            # No schema says of a text deep inside free JSON that it must be one that can be stored.
            "generation": {"max-examples": examples, "database": "none", "allow-x00": False},
            "phases": {
                **{name: {"enabled": name in phases} for name in PHASES},
                "stateful": {
                    "enabled": "stateful" in phases,
                    "generation": {"max-examples": 10 * examples},
                },
            },
            "checks": {
                # An If-Match that was drawn names no present version, an X-Swarm-Version that was
                # drawn may be of a time to come: the store is asked to wait for it, and says so.
                "positive_data_acceptance": {
                    "expected-statuses": ["2xx", "401", "403", "404", "409", "412", "503"]
                },
                "negative_data_rejection": {"expected-statuses": ["4xx", "503"]},
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
            },
            "operations": [
                {
                    "include-path-regex": "/auth/logout$",
                    "headers": {"Authorization": f"Bearer {leaver}"},
                },
                # A stream does not end; its first event is looked at.
                {"include-path-regex": _STREAMS, "request-timeout": 0.3, "max-stream-events": 1},
                # A conversation may have this name, so its path takes GET and DELETE as well.
                {
                    "include-path-regex": "/conversations/save-turn$",
                    "checks": {"allow_header_conformance": {"enabled": False}},
                },
                # Which addresses may be called hangs on the server's settings.
                {
                    "include-path-regex": _WEBHOOKS,
                    "checks": {"positive_data_acceptance": {"enabled": False}},
                },
                # The rules of its headers are those of RFC 6266 and 9530, which no schema says,
                # and a checksum is held against the body.
                {
                    "include-path-regex": _UPLOADS,
                    "checks": {
                        "positive_data_acceptance": {"enabled": False},
                        "negative_data_rejection": {"enabled": False},
                    },
                },
            ],
        }
    )


def _shallow(document: Mapping[str, Any], covered: str) -> Mapping[str, Any]:
    """Return the document of these paths, with what holds its own kind (a step that has steps) one
    level deep.

    Coverage tries each field of each kind, at each level anew: of the steps of a routine that would
    be ten thousand requests for one operation. Here a step that is inside another is a plain one.
    """
    shallow = copy.deepcopy(dict(document))
    paths = shallow["paths"].items()
    shallow["paths"] = {path: one for path, one in paths if re.search(covered, path)}
    schemas = shallow["components"]["schemas"]
    deep = {name for name in schemas if name in _leads_to(schemas, name)}
    refs = [{"$ref": f"#/components/schemas/{name}"} for name in deep]
    waiting: list[Any] = [schemas[name] for name in deep]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if any(each in refs for each in one.get("anyOf", ())):
                one["anyOf"] = [each for each in one["anyOf"] if each not in refs][:1]
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return shallow


def _leads_to(schemas: Mapping[str, Any], name: str) -> set[str]:
    """Return the schemas that this one refers to, by however many others."""
    found: set[str] = set()
    waiting = {name}
    while waiting:
        text = json.dumps([schemas[one] for one in waiting])
        waiting = set(_REF.findall(text)) - found
        found |= waiting
    return found


def _plain(document: Mapping[str, Any], *, with_headers: bool) -> dict[str, Any]:
    """Return the document without what keeps schemathesis from drawing well.

    It leaves U+0000 out anyway, and plain texts are drawn ten times as fast as those of a pattern.
    Its coverage sends "0" for an optional header whose pattern it cannot draw, and takes it for
    valid: `with_headers` keeps those.
    """
    plain = copy.deepcopy(dict(document))
    waiting: list[Any] = [plain]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if one.get("pattern") == _STORABLE:
                del one["pattern"]
            if "parameters" in one and "responses" in one and not with_headers:
                one["parameters"] = [
                    each
                    for each in one["parameters"]
                    if each["in"] != "header" or "pattern" not in each["schema"]
                ]
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return plain
