"""Rate limits: who is counted, under which name, and what the client is told."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from src.api.auth.principals import Role, principal
from src.api.rate_limits import RateLimits, network_of, of_verdict
from src.api.settings import ApiSettings
from src.state.rates import Rate, Verdict

SECRET = SecretStr("a secret of tests, at least thirty-two characters")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("not an address\r\n", "unknown"),
        ("", "unknown"),
    ],
)
def test_an_address_stands_for_whoever_holds_it(host: str, name: str) -> None:
    assert network_of(host) == name


def test_the_headers_name_the_rate_and_never_whose_it_is() -> None:
    verdict = Verdict("user:zoe@example.com", Rate(60, 60.0), True, 12, 29.2, 0.0)

    assert of_verdict(verdict) == [
        (b"ratelimit-policy", b'"user";q=60;w=60'),
        (b"ratelimit", b'"user";r=12;t=30'),
    ]


@pytest.mark.parametrize("role", [Role.ADMIN, Role.SERVICE])
def test_bots_and_workers_are_not_counted(role: Role) -> None:
    limits = RateLimits(ApiSettings(jwt_secret=SECRET, rate_limits="on"))

    # There are no rates in this scope: who is counted would fail.
    assert limits.at_once({"state": {}}, principal("worker", [role], 0.0)) == []


@pytest.mark.parametrize("role", [Role.EDITOR, Role.MEMBER, Role.VIEWER])
def test_people_are_counted(role: Role) -> None:
    limits = RateLimits(ApiSettings(jwt_secret=SECRET, rate_limits="on"))

    with pytest.raises(KeyError, match="rates"):
        limits.at_once({"state": {}}, principal("zoe", [role], 0.0))


def test_development_counts_nobody_unless_it_is_told_to() -> None:
    said = [
        RateLimits(ApiSettings(jwt_secret=SECRET, profile=profile, rate_limits=given)).on
        for profile, given in (("development", None), ("development", "on"), ("staging", "off"))
    ]
    assert said == [False, True, False]
    assert RateLimits(ApiSettings(jwt_secret=SECRET, profile="staging")).on
