"""Passwords: argon2id (RFC 9106), in threads of their own.

One hash takes 19 MiB and tens of milliseconds on purpose (the first choice of OWASP's Password
Storage Cheat Sheet). Few may run at once, and few may wait, so that many logins at once cost
neither the memory of the server nor the answers of everybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from src.state.buffers import Buffer
from src.state.errors import Overloaded

T = TypeVar("T")

HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

_WAITING_PER_THREAD = 32


class Passwords:
    """Hashes and compares passwords, `threads` at a time."""

    def __init__(self, threads: int, hasher: PasswordHasher = HASHER) -> None:
        self._hasher = hasher
        self._count = threads
        self._threads: ThreadPoolExecutor | None = None
        self._max = threads * (1 + _WAITING_PER_THREAD)
        self._under_way = 0
        self._refused = 0
        self._nobodys: str | None = None
        self.compared = 0
        """Comparisons made, those for users who do not exist included."""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep the threads for the length of the block."""
        self._threads = ThreadPoolExecutor(self._count, "passwords")
        try:
            yield
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here."""
        return {"passwords": Buffer(self._under_way, self._max, self._refused)}

    async def hash(self, password: str) -> str:
        """Return the hash to keep, with its salt and parameters in it.

        Raises:
            Overloaded: too many passwords wait for their turn.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def matches(self, hash: str | None, password: str) -> bool:
        """Say whether a password is the one of a hash.

        Without a hash the work is the same, so that nobody can tell by the time that there is no
        such user.

        Raises:
            Overloaded: too many passwords wait for their turn.
        """
        return await self._run(lambda: self._compare(hash, password))

    def is_dated(self, hash: str) -> bool:
        """Say whether a hash was made with other parameters than new ones are."""
        return self._hasher.check_needs_rehash(hash)

    def _compare(self, hash: str | None, password: str) -> bool:
        if self._nobodys is None:
            self._nobodys = self._hasher.hash("nobody's password")
        self.compared += 1
        try:
            self._hasher.verify(hash or self._nobodys, password)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False
        return hash is not None

    async def _run(self, work: Callable[[], T]) -> T:
        assert self._threads is not None, "to be used inside `open` only"
        if self._under_way >= self._max:
            self._refused += 1
            raise Overloaded("too many passwords are being checked")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1
