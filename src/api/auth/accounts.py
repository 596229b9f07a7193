"""Accounts: registration, login and what keeps it alive, logout, profiles, and their government.

An answer never tells whether it was the email or the password, and takes the same work either way.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
import structlog

from src.api.auth.forms import (
    LoggedIn,
    Login,
    NewUser,
    Person,
    Profile,
    ProfileEdit,
    Registration,
    UserEdit,
)
from src.api.auth.keys import is_of_key
from src.api.auth.passwords import Passwords
from src.api.auth.principals import Principal, Role
from src.api.auth.tokens import CLOCKS_S, issue_token
from src.api.bodies import Body, decoded
from src.api.errors import Forbidden, NotLoggedIn
from src.api.ids import new_id
from src.api.settings import ApiSettings
from src.state.errors import NotFound, Refused, VersionConflict
from src.state.records.people import People
from src.state.records.sessions import Begun
from src.state.records.users import NO_PROFILE, User
from src.swarm.shapes import free_json

log = structlog.get_logger(__name__)

_REFRESH_PREFIX = "ssr_"
_FIELDS = ("preferences", "learning_progress")
_LOGIN_FAILED = "email or password is not right, or this user may not log in"
_REFRESH_FAILED = "the refresh token is not good (any more); log in again"


class Accounts:
    """What people may do with their accounts, and administrators with everybody's."""

    def __init__(self, people: People, passwords: Passwords, settings: ApiSettings) -> None:
        self._people = people
        self._passwords = passwords
        self._settings = settings

    # -- coming and going ------------------------------------------------------------------------

    async def register(self, given: Registration) -> User:
        """Make a member of somebody.

        Raises:
            Forbidden: registration is closed. UserExists: the email is taken.
        """
        if not self._settings.may_register:
            raise Forbidden(
                "registration is closed; ask an administrator for an account "
                "(SWARMSTATE_API_REGISTRATION=open lets people register)"
            )
        return await self.create(NewUser(given.email, given.password, given.name))

    async def create(self, given: NewUser) -> User:
        """Make a user.

        Raises:
            UserExists: the email is taken.
        """
        password = None if given.password is None else await self._passwords.hash(given.password)
        roles = [role.value for role in given.roles]
        return await self._people.users.add(
            new_id(), given.email.lower(), given.name, roles, password
        )

    async def login(self, given: Login) -> LoggedIn:
        """Begin a session.

        Raises:
            NotLoggedIn: no such user, another password, or a user who is disabled.
        """
        found = await self._people.users.by_email(given.email.lower())
        user, hash = (None, None) if found is None else found
        matches = await self._passwords.matches(hash, given.password)
        if user is None or hash is None or not matches or user.status != "active":
            raise NotLoggedIn(_LOGIN_FAILED)
        if self._passwords.is_dated(hash):
            new = await self._passwords.hash(given.password)
            await self._people.users.set_password(user.id, hash, new)
        refresh_token = _new_refresh_token()
        begun = await self._people.sessions.begin(
            new_id(), user.id, user.version, _hashed(refresh_token), self._settings.refresh_lifetime
        )
        if begun is None:
            # Changed while the password was compared: it may be another one now.
            raise NotLoggedIn(_LOGIN_FAILED)
        return self._logged_in(begun, refresh_token)

    async def refresh(self, token: str) -> LoggedIn:
        """Give the next pair of tokens for a refresh token, which is then used up.

        Raises:
            NotLoggedIn: it is unknown, expired, of a session that was ended, or was used before;
                in the last case its session ends.
        """
        successor = _new_refresh_token()
        begun = await self._people.sessions.carry_on(
            _hashed(token), _hashed(successor), self._last_expiry()
        )
        if begun is None:
            raise NotLoggedIn(_REFRESH_FAILED)
        return self._logged_in(begun, successor)

    async def logout(self, caller: Principal, *, everywhere: bool) -> None:
        """End the caller's session, or all of its sessions and tokens.

        Raises:
            Refused: who shows an API key has nothing to log out of.
        """
        if is_of_key(caller):
            raise Refused("api_key", "an API key is ended by DELETE /api/v1/api-keys/{id}")
        if everywhere:
            await self._people.users.end_sessions(caller.id, first=_blank(caller))
        else:
            until = max(self._last_expiry(), int(caller.expires_at) + 1)
            await self._people.sessions.end(caller.session, until)

    def _last_expiry(self) -> int:
        """Return when the newest token that is out there now has expired, in seconds since 1970."""
        return int(time.time() + self._settings.token_lifetime.total_seconds() + CLOCKS_S)

    def _logged_in(self, begun: Begun, refresh_token: str) -> LoggedIn:
        lifetime = self._settings.token_lifetime
        access_token = issue_token(
            self._settings.jwt_secret.get_secret_value(),
            begun.user.id,
            [Role(role) for role in begun.user.roles],
            lifetime=lifetime,
            now=begun.issued_at,
            session=begun.session_id,
        )
        expires_in = int(lifetime.total_seconds())
        return LoggedIn(access_token, "Bearer", expires_in, refresh_token, profile_of(begun.user))

    # -- oneself ---------------------------------------------------------------------------------

    async def profile(self, caller: Principal) -> Profile:
        """Return what is kept about the caller."""
        user = await self._people.users.get(caller.id)
        return profile_of(user or _blank(caller))

    async def edit_profile(
        self, caller: Principal, merge_patch: Body, if_version: int | None
    ) -> Profile:
        """Change what is kept about the caller, by a JSON merge patch (RFC 7396).

        Raises:
            Refused: what would come of it is not allowed. VersionConflict: not of this version.
        """

        def edited(user: User) -> User:
            _check_version(user, if_version)
            present = {"name": user.name, **msgspec.json.decode(user.profile)}
            edit = decoded(ProfileEdit, free_json.merge_patch(present, merge_patch))
            kept = {
                field: free_json.accept_map(getattr(edit, field), dict[str, object], field)
                for field in _FIELDS
            }
            return msgspec.structs.replace(user, name=edit.name, profile=msgspec.json.encode(kept))

        return profile_of(await self._people.users.change(caller.id, edited, first=_blank(caller)))

    # -- everybody -------------------------------------------------------------------------------

    async def list(
        self, cursor: str | None, limit: int, email: str | None
    ) -> tuple[Sequence[User], str | None]:
        """Return users in order of id, and the cursor of the next page."""
        found = await self._people.users.list(
            cursor or "", limit, None if email is None else email.lower()
        )
        return found, found[-1].id if len(found) == limit else None

    async def get(self, id: str) -> User:
        """Return a user.

        Raises:
            NotFound: there is none, or it was deleted.
        """
        user = await self._people.users.get(id)
        if user is None or user.status == "deleted":
            raise NotFound("user", id)
        return user

    async def edit(
        self, caller: Principal, id: str, merge_patch: Body, if_version: int | None
    ) -> User:
        """Change a user, by a JSON merge patch. Other roles or another status end its sessions.

        Raises:
            NotFound, VersionConflict; Refused: not allowed, to oneself neither.
        """

        def edited(user: User) -> User:
            _check_version(user, if_version)
            present = {"name": user.name, "roles": user.roles, "status": user.status}
            edit = decoded(UserEdit, free_json.merge_patch(present, merge_patch))
            roles = tuple(role.value for role in dict.fromkeys(edit.roles))
            loses = edit.status != "active" or Role.ADMIN not in edit.roles
            if caller.id == id and loses:
                raise _yourself()
            return msgspec.structs.replace(user, name=edit.name, roles=roles, status=edit.status)

        changed = await self._people.users.govern(id, edited)
        log.info("user.changed", user=id, by=caller.id, status=changed.status, roles=changed.roles)
        return changed

    async def delete(self, caller: Principal, id: str, if_version: int | None) -> None:
        """Forget what is known about a user and end its sessions; the id is not used again.

        Raises:
            NotFound, VersionConflict; Refused: to oneself.
        """

        def deleted(user: User) -> User:
            _check_version(user, if_version)
            if caller.id == id:
                raise _yourself()
            return msgspec.structs.replace(
                user, email=None, name="", roles=(), status="deleted", profile=NO_PROFILE
            )

        await self._people.users.govern(id, deleted)
        log.info("user.deleted", user=id, by=caller.id)


def person_of(user: User) -> Person:
    """Return what administrators see of a user."""
    return Person(
        user.id,
        user.email,
        user.name,
        user.roles,
        "active" if user.status == "active" else "disabled",
        user.version,
        user.created_at,
        user.updated_at,
    )


def profile_of(user: User) -> Profile:
    """Return what a user sees of itself."""
    kept = msgspec.json.decode(user.profile, type=dict[str, msgspec.Raw])
    # Copies: a view would keep the whole row alive.
    own = {field: msgspec.Raw(bytes(kept[field])) for field in _FIELDS if field in kept}
    return Profile(user.id, user.email, user.name, user.roles, user.version, **own)


def _blank(caller: Principal) -> User:
    """Return the row of somebody of whom nothing is kept so far: known by a token only."""
    now = datetime.now(UTC)
    roles = tuple(role.value for role in caller.roles)
    return User(caller.id, None, "", roles, "active", NO_PROFILE, 0, 0, now, now)


def _check_version(user: User, expected: int | None) -> None:
    if expected is not None and expected != user.version:
        raise VersionConflict(user.id, expected, user.version)


def _yourself() -> Refused:
    detail = "you cannot take your own right to do this; ask another administrator"
    return Refused("yourself", detail)


def _new_refresh_token() -> str:
    return _REFRESH_PREFIX + secrets.token_urlsafe(32)


def _hashed(token: str) -> bytes:
    """256 bits of chance need no slow hash."""
    return sha256(token.encode()).digest()
