"""What can go wrong at the edge itself, beside what the rooms below it name.

ApiError
├── Unauthorized          no token, or one that is not valid
│   └── NotLoggedIn       email and password, or a refresh token, that do not let anybody in
├── IdentityProviderAway  a token of the identity provider, and no key yet to check it with
├── Forbidden             a valid token without the right to this
├── RateLimited           asked more often than it may
│   └── TooManyStreams    has more streams open than it may
├── CutShort              a body that ended before it was whole
├── BodyTooSlow           a body that took too long to come
├── UnsupportedType       a file of a media type that is not taken here
├── RangeNotSatisfiable   a range that begins beyond the end of the file
├── NotConfigured         this needs a setting that the server was started without
└── Unavailable           this server is going away and takes no new streams
"""

from __future__ import annotations


class ApiError(Exception):
    """Base of what this room raises on purpose; the message is shown to the client."""


class Unauthorized(ApiError):
    """No token, or one that cannot be accepted."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"{why}; send `Authorization: Bearer <token>` with a token from "
            "POST /api/v1/auth/login or `swarmstate token`"
        )


class NotLoggedIn(Unauthorized):
    """What was shown lets nobody in; the message does not tell which part of it was wrong."""

    def __init__(self, why: str) -> None:
        ApiError.__init__(self, why)


class IdentityProviderAway(ApiError):
    """The identity provider's keys cannot be had now, so its tokens cannot be judged."""


class Forbidden(ApiError):
    """The caller is known and may not do this."""


class RateLimited(ApiError):
    """More requests than the rate of this caller or address allows."""

    def __init__(self, name: str, rate: str, retry_after_s: float) -> None:
        super().__init__(
            f"too many requests: the rate `{name}` is {rate}; wait for Retry-After, and ask for a "
            "token of the role service if you are a bot or a worker"
        )
        self.retry_after_s = retry_after_s


class TooManyStreams(RateLimited):
    """More streams and live sessions at once than one caller may have."""

    def __init__(self, most: int) -> None:
        ApiError.__init__(
            self,
            f"{most} streams and live sessions of yours are open on this server, as many as "
            "SWARMSTATE_API_STREAMS_PER_CALLER allows; close one, or follow several conversations "
            "with a token of the role service if you are a bot or a worker",
        )
        self.retry_after_s = 5.0


class Unavailable(ApiError):
    """This server drains: another one takes the client."""


class CutShort(ApiError):
    """The client went away in the middle of its request; nobody hears of it but the log."""

    def __init__(self) -> None:
        super().__init__("the body ended before it was whole; nothing of it was kept")


class BodyTooSlow(ApiError):
    """A body that is not here in time; of a file, a part of it."""

    def __init__(self, patience_s: float) -> None:
        super().__init__(f"waited {patience_s:g} s for the body; nothing of it was kept")


class UnsupportedType(ApiError):
    """A body of a media type that is not taken."""


class RangeNotSatisfiable(ApiError):
    """A range outside of the file; `size` in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size} bytes; ask for a range within it")
        self.size = size


class NotConfigured(ApiError):
    """What was asked for needs a setting that is not there."""
