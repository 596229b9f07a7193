"""Sending one message once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import msgspec
from aiohttp.resolver import DefaultResolver

from src.state.errors import Refused
from src.state.protocols import Clock
from src.state.records.webhooks import Webhook
from src.swarm.webhooks import messages
from src.swarm.webhooks.addresses import PrivateAddress, PublicResolver, check_url
from src.swarm.webhooks.messages import Message

_GONE = 410
_CONNECTIONS = 64


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of it. `status` is None without an answer; `error` is empty when it arrived."""

    status: int | None
    error: str = ""

    @property
    def delivered(self) -> bool:
        return not self.error

    @property
    def gone(self) -> bool:
        """Whether the receiver said that it will never want anything again."""
        return self.status == _GONE


class Sender:
    """Posts signed messages. It follows no redirect, keeps no cookie and reads no answer's body."""

    def __init__(
        self, session: aiohttp.ClientSession, clock: Clock, timeout: timedelta, *, private: bool
    ) -> None:
        self._session = session
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=timeout.total_seconds())
        self._private = private

    async def send(self, webhook: Webhook, message: Message) -> Outcome:
        """Try once; the outcome says what went wrong, and nothing of the network around us."""
        keys = [webhook.secret, *filter(None, (webhook.previous_secret,))]
        headers = messages.headers(message, keys, int(self._clock.now().timestamp()))
        try:
            check_url(webhook.url, private=self._private)
            async with self._session.post(
                webhook.url,
                data=message.body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                # A connection with an unread body is closed at the end of the block.
                status = response.status
        except Refused as error:
            return Outcome(None, error.detail)
        except TimeoutError:
            return Outcome(None, f"no answer within {self._timeout.total:.0f} s")
        except aiohttp.ClientConnectorDNSError as error:
            refused = isinstance(error.os_error, PrivateAddress)
            return Outcome(None, str(error.os_error) if refused else "the name has no address")
        except aiohttp.ClientSSLError:
            return Outcome(None, "no trusted TLS connection")
        except (aiohttp.ClientError, OSError, ValueError):
            return Outcome(None, "no connection, or it broke before the answer")
        if 200 <= status < 300:
            return Outcome(status)
        hint = "; redirects are not followed" if 300 <= status < 400 else ""
        return Outcome(status, f"answered {status}{hint}")


@asynccontextmanager
async def open_sender(clock: Clock, patience: timedelta, *, private: bool) -> AsyncIterator[Sender]:
    """Open the way out; close its connections at the end of the block."""
    resolver = None if private else PublicResolver(DefaultResolver())
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS, limit_per_host=8, resolver=resolver)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        yield Sender(session, clock, patience, private=private)
