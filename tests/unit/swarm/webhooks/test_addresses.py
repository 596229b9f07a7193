"""A webhook leads to the world, and not into the network of the server."""

import socket

import msgspec
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from src.state.errors import Refused
from src.swarm.webhooks.addresses import PrivateAddress, PublicResolver, check_url, is_public
from src.swarm.webhooks.service import WebhookConfig


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "fec0::1",
        "::7f00:1",
        "::ffff:0:127.0.0.1",
        "64:ff9b:1::7f00:1",
        "4000::1",
        "no address",
    ],
)
def test_address_of_a_network_of_ones_own_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::1.1.1.1"]
)
def test_address_of_the_world_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "example.com",
        "https://user:pass@example.com/",
        "https://user@example.com/",
        "https://example.com/#part",
        "https://example.com:65536/",
        "https://example.com:0/",
        "https://exa mple.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://[::1]/",
        " https://example.com/",
    ],
)
@pytest.mark.parametrize("private", [True, False])
def test_what_is_no_plain_url_is_refused_by_the_pattern_and_by_the_check(
    url: str, private: bool
) -> None:
    with pytest.raises(Refused) as refusal:
        check_url(url, private=private)
    assert (refusal.value.code, refusal.value.field) == ("invalid", "url")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"url": url}, WebhookConfig)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1:8443/",
    ],
)
def test_url_that_leads_elsewhere_than_into_the_world_is_refused_unless_a_setting_allows_it(
    url: str,
) -> None:
    with pytest.raises(Refused) as refusal:
        check_url(url, private=False)
    assert (refusal.value.code, refusal.value.field) == ("address_not_allowed", "url")
    check_url(url, private=True)


@pytest.mark.parametrize(
    "url", ["https://example.com", "https://example.com:8443/a?b=c", "https://1.1.1.1/"]
)
def test_url_of_the_world_is_taken(url: str) -> None:
    check_url(url, private=False)


def test_private_addresses_and_http_are_taken_where_a_setting_says_so() -> None:
    for url in ("http://127.0.0.1:8000/", "https://10.0.0.1/", "http://localhost/"):
        check_url(url, private=True)
        assert msgspec.convert({"url": url}, WebhookConfig).url == url


class Names(AbstractResolver):
    """A name server of a test."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0)
            for one in self.addresses
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("1.1.1.1", "10.0.0.1"), ("::1",)])
async def test_name_with_any_private_address_is_refused(addresses: tuple[str, ...]) -> None:
    resolver = PublicResolver(Names(*addresses))
    with pytest.raises(PrivateAddress, match=r"rebind\.example"):
        await resolver.resolve("rebind.example", 443)


async def test_name_of_the_world_is_resolved() -> None:
    found = await PublicResolver(Names("1.1.1.1")).resolve("example.com", 443)
    assert [one["host"] for one in found] == ["1.1.1.1"]
