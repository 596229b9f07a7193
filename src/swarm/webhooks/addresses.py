"""Where messages may go: to the world, and not into the network that this server stands in.

A URL is somebody's wish that this server make a request for them. What they could not reach
themselves (loopback, private networks, a cloud's metadata service) they must not reach through it.
Names are judged by the addresses they have at the moment of connecting, and the connection goes to
just those: a name that changes its mind between check and use gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from src.state.errors import Refused

_PORT = r"6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}"
# A name or an IPv4 address; no user, no password, no fragment, nothing that two readers of a URL
# could read in two ways. "Not followed by anything" instead of `$`, which lets a newline through.
URL = rf"^https?://[A-Za-z0-9._-]+(:({_PORT}))?([/?][!$-;=?-Z_a-z~]*)?(?![\s\S])"
"""What a URL of a webhook looks like."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given to anybody; what lies outside leads somewhere local, or nowhere."""


class PrivateAddress(OSError):
    """A name stands for an address that is not of the public internet."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} is not an address of the public internet")


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those with any address that is not public."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(one["host"]) for one in found):
            raise PrivateAddress(host)
        return found

    async def close(self) -> None:
        await self._resolver.close()


def check_url(url: str, *, private: bool) -> None:
    """Check what can be said of a URL without asking anybody.

    Raises:
        Refused: `invalid`, it is not of the form `URL`; `address_not_allowed`, without `private`:
            it is not https, or its host is an address that is not public.
    """
    if re.search(URL, url) is None:
        raise Refused("invalid", "url: it is not like https://name/path", field="url")
    if private:
        return
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https":
        raise _not_allowed("it must begin with https://")
    if _is_address(host) and not is_public(host):
        raise _not_allowed(f"{host} is not an address of the public internet")


def is_public(address: str) -> bool:
    """Say whether an IP address is one of the public internet, also behind a translation."""
    try:
        found: _Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(one.is_global and not one.is_multicast for one in (found, *_inner(found))) and (
        found.version == 4 or found in _UNICAST or found in _NAT64
    )


def _inner(address: _Address) -> tuple[_Address, ...]:
    """Return the IPv4 address that an IPv6 one leads to."""
    if not isinstance(address, ipaddress.IPv6Address):
        return ()
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return () if inner is None else (inner,)


def _is_address(host: str) -> bool:
    # Numbers of any form: 127.1 and 0x7f000001 are addresses to those who connect.
    return host.rstrip(".").rpartition(".")[2].isdigit() or host.startswith("0x")


def _not_allowed(why: str) -> Refused:
    return Refused("address_not_allowed", f"url: {why}", field="url")
