"""Tokens of an identity provider: which are believed, and how often its keys are asked for."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import SecretStr, ValidationError

from src.api.auth.door import Door
from src.api.auth.identity_provider import IdentityProvider, is_foreign, read_keys, roles_of
from src.api.auth.principals import Role
from src.api.auth.tokens import Tokens, issue_token
from src.api.errors import IdentityProviderAway, Unauthorized
from src.api.settings import ROLES, ApiSettings
from tests.unit.api.given import NO_MOMENTS, Revoked

SECRET = "a secret of tests, at least thirty-two characters"
ISSUER, AUDIENCE = "https://id.example", "rooms"

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SIGNERS: dict[str, Any] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}
JWKS = {
    "keys": [
        {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "RS256", "use": "sig"},
        {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "ES256"},
        {**OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True), "kid": "EdDSA"},
        {**RSAAlgorithm.to_jwk(OTHER_RSA.public_key(), as_dict=True), "kid": "enc", "use": "enc"},
        {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode(), "kid": "oct"},
        {"kty": "unheard of", "kid": "odd"},
        "no key at all",
    ]
}


def settings(**changes: Any) -> ApiSettings:
    given = {
        "jwks_url": "https://id.example/keys",
        "jwks_issuer": ISSUER,
        "jwks_audience": AUDIENCE,
        **changes,
    }
    return ApiSettings(jwt_secret=SecretStr(SECRET), **given)


class Published:
    """What the provider publishes, how often it was asked, and the time."""

    def __init__(self, keys: object = JWKS) -> None:
        self.keys = keys
        self.asked = 0
        self.away = False
        self.now = 1_000.0
        self.shut_out: set[str] = set()

    async def fetch(self) -> bytes:
        self.asked += 1
        if self.away:
            raise OSError("away")
        return json.dumps(self.keys).encode()

    async def is_shut_out(self, subject: str) -> bool:
        return subject in self.shut_out

    def provider(self, **changes: Any) -> IdentityProvider:
        return IdentityProvider(
            settings(**changes), self.is_shut_out, self.fetch, monotonic=lambda: self.now
        )


def signed(alg: str = "RS256", kid: str | None = "same", key: Any = None, **changes: Any) -> bytes:
    now = int(time.time())
    claims: dict[str, Any] = {"sub": "zoe", "roles": ["member"], "iss": ISSUER, "aud": AUDIENCE}
    claims |= {"iat": now, "exp": now + 60, **changes}
    present = {name: value for name, value in claims.items() if value is not None}
    kid = alg if kid == "same" else kid
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(present, key or SIGNERS[alg], algorithm=alg, headers=headers).encode()


@pytest.mark.parametrize("alg", sorted(SIGNERS))
async def test_a_token_signed_with_a_published_key_names_its_caller(alg: str) -> None:
    caller = await Published().provider().verify(signed(alg))

    assert (caller.id, caller.roles) == ("zoe", (Role.MEMBER,))
    assert caller.session


def unsigned() -> bytes:
    return jwt.encode({"sub": "zoe"}, "", algorithm="none", headers={"kid": "RS256"}).encode()


def signed_with_the_public_key() -> bytes:
    """HMAC with the text of the public key as the secret, put together by hand."""
    import hashlib
    import hmac

    secret = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"RS256"}').rstrip(b"=")
    body = header + b"." + signed().split(b".")[1]
    mac = hmac.new(secret, body, hashlib.sha256).digest()
    return body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")


@pytest.mark.parametrize(
    "token",
    [
        signed(iss="https://evil.example"),
        signed(aud="another-service"),
        signed(exp=int(time.time()) - 1),
        signed(nbf=int(time.time()) + 600),
        signed(exp=None),
        signed(iat=None),
        signed(aud=None),
        signed(iss=None),
        signed(sub=None),
        signed(sub=""),
        signed(key=OTHER_RSA),
        signed(key=OTHER_RSA, kid="enc"),
        signed(kid="unknown"),
        signed(kid=None),
        signed("RS256", kid="ES256"),
        jwt.encode({"sub": "zoe"}, SECRET, algorithm="HS256", headers={"kid": "oct"}).encode(),
        unsigned(),
        signed_with_the_public_key(),
        b"",
        b"not.a.token",
    ],
)
async def test_any_other_token_is_not_believed(token: bytes) -> None:
    with pytest.raises(Unauthorized):
        await Published().provider().verify(token)


@pytest.mark.parametrize("name", ["iat", "exp"])
@pytest.mark.parametrize("moment", NO_MOMENTS)
async def test_what_no_clock_shows_is_no_moment(name: str, moment: float) -> None:
    claims: dict[str, Any] = {name: moment}
    with pytest.raises(Unauthorized, match="moment"):
        await Published().provider().verify(signed(**claims))


async def test_no_token_comes_from_the_future() -> None:
    with pytest.raises(Unauthorized, match="future"):
        await Published().provider().verify(signed(iat=time.time() + 30))


async def test_a_token_from_a_clock_ahead_of_ours_does_not_outlive_a_logout_everywhere() -> None:
    now = time.time()

    caller = await Published().provider().verify(signed(iat=now + 9))

    assert caller.issued_at < now


async def test_the_same_token_with_another_signature_is_the_same_session() -> None:
    """Of an ECDSA signature (r, s) everybody can make (r, n - s), which is as good."""
    token = signed("ES256")
    told, _, signature = token.rpartition(b".")
    raw = base64.urlsafe_b64decode(signature + b"==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = order - int.from_bytes(raw[32:], "big")
    twin = base64.urlsafe_b64encode(raw[:32] + other.to_bytes(32, "big")).rstrip(b"=")
    provider = Published().provider()

    first = await provider.verify(token)
    assert (await provider.verify(told + b"." + twin)).session == first.session
    assert (await provider.verify(signed("ES256", iat=1))).session != first.session


async def test_who_is_shut_out_here_does_not_come_in_by_a_new_token() -> None:
    published = Published()
    published.shut_out.add("zoe")

    with pytest.raises(Unauthorized, match="may not come in"):
        await published.provider().verify(signed())


async def test_a_token_without_a_key_id_is_checked_with_the_only_key_there_is() -> None:
    published = Published({"keys": JWKS["keys"][:1]})

    assert (await published.provider().verify(signed(kid=None))).id == "zoe"


async def test_a_subject_that_is_no_id_is_named_by_its_hash() -> None:
    provider = Published().provider()

    one = await provider.verify(signed(sub="auth0|7"))
    same = await provider.verify(signed(sub="auth0|7", roles=[]))
    other = await provider.verify(signed(sub="auth0_7"))

    assert one.id == same.id != other.id
    assert one.id.startswith("idp-")
    assert (await provider.verify(signed(sub=one.id))).id != one.id
    assert (await provider.verify(signed(sub="half of a pair \ud800"))).id.startswith("idp-")


async def test_keys_are_asked_for_once_and_again_for_new_ones_at_a_bounded_rate() -> None:
    published = Published({"keys": JWKS["keys"][:1]})
    provider = published.provider()
    for _ in range(3):
        await provider.verify(signed())
    assert published.asked == 1

    published.keys = JWKS
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await provider.verify(signed("ES256"))
    assert published.asked == 1

    published.now += 10
    assert (await provider.verify(signed("ES256"))).id == "zoe"
    assert published.asked == 2


async def test_keys_that_were_taken_back_are_good_for_an_hour_and_longer_while_nobody_answers() -> (
    None
):
    published = Published()
    provider = published.provider()
    await provider.verify(signed())
    published.keys = {"keys": JWKS["keys"][1:]}
    published.now += 3_599
    await provider.verify(signed())

    published.now += 2
    published.away = True
    await provider.verify(signed())

    published.away = False
    published.now += 10
    with pytest.raises(Unauthorized):
        await provider.verify(signed())


async def test_without_any_key_nobody_can_say_whether_a_token_is_good() -> None:
    published = Published()
    published.away = True

    with pytest.raises(IdentityProviderAway):
        await published.provider().verify(signed())


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 200_000, b'{"keys":' + b"[" * 200_000],
)
def test_what_is_no_jwks_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # msgspec's errors are some too
        read_keys(body)


@pytest.mark.parametrize("kid", [["RS256"], {"a": 1}, 7])
def test_a_key_of_an_odd_name_takes_no_other_along(kid: object) -> None:
    odd = {**JWKS["keys"][0], "kid": kid}  # type: ignore[dict-item]  # a key, as they all are

    assert set(read_keys(json.dumps({"keys": [odd, *JWKS["keys"]]}).encode())) == {
        "RS256",
        "ES256",
        "EdDSA",
    }


NAMES = {"rooms-admin": Role.ADMIN, "editor": Role.EDITOR}


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        ({"realm": {"roles": ["editor", "rooms-admin"]}}, (Role.ADMIN, Role.EDITOR)),
        ({"realm": {"roles": "editor openid"}}, (Role.EDITOR,)),
        ({"realm": {"roles": ["admin", 7, None]}}, ()),
        ({"realm": {"roles": {"admin": True}}}, ()),
        ({"realm": "editor"}, ()),
        ({}, ()),
    ],
)
def test_roles_are_those_that_the_claim_names_and_the_settings_know(
    claims: dict[str, Any], roles: tuple[Role, ...]
) -> None:
    assert roles_of(claims, ["realm", "roles"], NAMES) == roles


async def test_both_sorts_of_tokens_are_good_at_one_door() -> None:
    door = Door(Tokens(SECRET))
    door.open(Revoked(), provider=Published().provider())
    ours = issue_token(SECRET, "yan", [Role.MEMBER]).encode()

    assert (await door.authenticate(b"Bearer " + ours)).id == "yan"
    assert (await door.authenticate(b"Bearer " + signed())).id == "zoe"
    assert not is_foreign(ours)
    with pytest.raises(Unauthorized):
        await door.authenticate(b"Bearer " + signed_with_the_public_key())


@pytest.mark.parametrize("alg", [["RS256"], {"RS256": 1}, 7, None])
async def test_a_header_that_names_no_algorithm_is_no_defect_of_ours(alg: object) -> None:
    header = base64.urlsafe_b64encode(json.dumps({"alg": alg, "kid": "RS256"}).encode())
    token = header.rstrip(b"=") + b"." + signed().split(b".", 1)[1]
    door = Door(Tokens(SECRET))
    door.open(Revoked(), provider=Published().provider())

    with pytest.raises(Unauthorized):
        await door.authenticate(b"Bearer " + token)


async def test_a_door_without_a_provider_takes_none_of_its_tokens() -> None:
    door = Door(Tokens(SECRET))
    door.open(Revoked())

    with pytest.raises(Unauthorized):
        await door.authenticate(b"Bearer " + signed())


@pytest.mark.parametrize(
    "changes",
    [
        {"jwks_issuer": None},
        {"jwks_audience": None},
        {"jwks_url": "file:///keys"},
        {"jwks_url": "http://id.example/keys", "profile": "production"},
        {"jwks_roles": ("admin",)},
        {"jwks_roles": ("boss=emperor",)},
    ],
)
def test_settings_that_would_believe_too_much_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="SWARMSTATE_API_JWKS"):
        settings(**changes)


def test_settings_know_every_role() -> None:
    assert set(ROLES) == set(Role)
