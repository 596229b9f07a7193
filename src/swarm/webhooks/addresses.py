"""Where messages may go: to the world, and not into the network that this server stands in.

A URL is somebody's wish that this server make a request for them. What they could not reach
themselves (loopback, private networks, a cloud's metadata service) they must not reach through it.
Names are judged by the addresses they have at the moment of connecting, and the connection goes to
just those: a name that changes its mind between check and use gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from src.state.errors import Refused

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


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
        Refused: no URL of the scheme https (or, with `private`, http), one with a password or a
            fragment, or one of an address that is not public; `url` is named.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise _refused(f"it is no URL ({error})") from error
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        raise _refused("it must begin with https://")
    if not host or url != url.strip() or any(mark.isspace() for mark in url):
        raise _refused("it names no host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _refused("leave user, password and fragment out")
    if not private and _is_address(host) and not is_public(host):
        raise _refused(f"{host} is not an address of the public internet")


def is_public(address: str) -> bool:
    """Say whether an IP address is one of the public internet, also behind a translation."""
    try:
        found: _Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(one.is_global and not one.is_multicast for one in (found, *_inner(found)))


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
    return ":" in host or host.replace(".", "").isdigit() or host.startswith("0x")


def _refused(why: str) -> Refused:
    return Refused("invalid", f"url: {why}", field="url")
