"""The last version seen of each thing, so that no later answer, of any server, is older."""

from __future__ import annotations

from collections import OrderedDict

from swarmstate_client.errors import NotUnderstood


class Versions:
    """Keeps the highest version token of the things used last."""

    def __init__(self, remembered: int = 10_000) -> None:
        self._remembered = remembered
        self._tokens: OrderedDict[str, str] = OrderedDict()

    def last(self, thing: str) -> str | None:
        """Return the token `<epoch>.<seq>`; None for what was not seen yet."""
        return self._tokens.get(thing)

    def saw(self, thing: str, token: str) -> None:
        """Remember a token, unless a higher one was seen.

        Raises:
            NotUnderstood: it is no version token.
        """
        if _place(token) >= _place(self._tokens.get(thing, "0.0")):
            self._tokens[thing] = token
        self._tokens.move_to_end(thing)
        if len(self._tokens) > self._remembered:
            self._tokens.popitem(last=False)


def _place(token: str) -> tuple[int, int]:
    epoch, _, seq = token.partition(".")
    try:
        return int(epoch), int(seq)
    except ValueError as error:
        raise NotUnderstood(f"{token!r} is no version; is this a server of swarmstate?") from error
