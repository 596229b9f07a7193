"""Which answers of the stores are fit for the promises."""

from __future__ import annotations

import pytest

from src.cli.doctor import Finding, clock, healthy, postgres_settings, redis_info

GOOD = {
    "server_version": "15.6",
    "server_version_num": "150006",
    "default_transaction_isolation": "read committed",
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_standby_names": "s1",
}


def bad(findings: list[Finding]) -> dict[str, str]:
    return {one.check: one.verdict for one in findings if one.verdict != "ok"}


def test_a_durable_postgresql_passes() -> None:
    assert bad(postgres_settings(GOOD)) == {}


@pytest.mark.parametrize(
    ("setting", "value", "check"),
    [
        ("server_version_num", "140012", "PostgreSQL version"),
        ("default_transaction_isolation", "repeatable read", "isolation"),
        ("synchronous_commit", "off", "synchronous_commit"),
        ("fsync", "off", "fsync"),
        ("full_page_writes", "off", "full_page_writes"),
    ],
)
def test_what_breaks_a_promise_fails(setting: str, value: str, check: str) -> None:
    findings = postgres_settings(GOOD | {setting: value})
    assert bad(findings) == {check: "fail"}
    assert not healthy(findings)


def test_no_standby_is_a_warning_and_no_failure() -> None:
    findings = postgres_settings(GOOD | {"synchronous_standby_names": ""})
    assert bad(findings) == {"synchronous standby": "warn"}
    assert healthy(findings)


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru"])
def test_a_redis_that_keeps_what_has_no_ttl_passes(policy: str) -> None:
    assert bad(redis_info({"redis_version": "7.0.15", "maxmemory_policy": policy})) == {}


@pytest.mark.parametrize(
    ("info", "check"),
    [
        ({"redis_version": "6.2.14", "maxmemory_policy": "noeviction"}, "Redis version"),
        ({"redis_version": "7.2.4", "maxmemory_policy": "allkeys-lru"}, "eviction policy"),
    ],
)
def test_an_old_or_forgetful_redis_fails(info: dict[str, str], check: str) -> None:
    assert bad(redis_info(info)) == {check: "fail"}


def test_valkey_is_called_by_its_name() -> None:
    info = {"redis_version": "7.2.4", "valkey_version": "9.1.2", "maxmemory_policy": "noeviction"}
    assert redis_info(info)[0].found == "Valkey 9.1.2, as Redis 7.2.4"


def test_a_clock_that_runs_ahead_is_a_warning() -> None:
    assert clock("Redis", 0.4).verdict == "ok"
    assert clock("Redis", -30).verdict == "warn"
