"""What headers say of a file, read and written: its name, type, checksum, and parts of it.

A name is only shown, never used as a path; still one that could become a path, or deceive, in
somebody's hands is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote_to_bytes

from src.api.errors import RangeNotSatisfiable, UnsupportedType
from src.state.errors import Refused

NAME_BYTES = 255
_UNNAMED = "file"
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_PARAMETER = re.compile(r";\s*([\w!#$&+.^`|~-]+\*?)\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^\s;\"]*)")
_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/]+={0,2}):")
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories that nobody sees: controls, directions, halves of pairs, line ends."""


def name_of(headers: Mapping[str, str]) -> str:
    """Return what the file is to be called: by Content-Disposition, else by X-File-Name.

    Both carry UTF-8 percent-encoded (RFC 8187 in the first: `filename*=UTF-8''caf%C3%A9.txt`).

    Raises:
        Refused: names the header; empty, over 255 bytes, or with anything of a path in it.
    """
    field, name = "Content-Disposition", _disposed(headers.get("content-disposition"))
    if name is None:
        field, given = "X-File-Name", headers.get("x-file-name")
        name = _UNNAMED if given is None else _decoded(given, field)
    why = _objection(name)
    if why is not None:
        raise Refused("invalid", f"the file's name {why}", field=field)
    return name


def _disposed(header: str | None) -> str | None:
    given = {
        one[1].lower(): re.sub(r"\\(.)", r"\1", one[2][1:-1]) if one[2][:1] == '"' else one[2]
        for one in _PARAMETER.finditer(header or "")
    }
    if "filename*" in given:
        charset, _, value = given["filename*"].partition("'")
        if charset.lower() != "utf-8":
            raise Refused("invalid", "filename* must be UTF-8''...", field="Content-Disposition")
        return _decoded(value.partition("'")[2], "Content-Disposition")
    return _decoded(given["filename"], "Content-Disposition") if "filename" in given else None


def _decoded(given: str, field: str) -> str:
    return _utf8(unquote_to_bytes(given.encode("latin-1")), field)


def _utf8(data: bytes, field: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused("invalid", "the file's name is not UTF-8", field=field) from error


def _objection(name: str) -> str | None:
    if not name.strip() or name in (".", ".."):
        return "is empty or a folder; give it a name"
    if len(name.encode(errors="replace")) > NAME_BYTES:
        return f"is longer than {NAME_BYTES} bytes; shorten it"
    if "/" in name or "\\" in name:
        return "has a path in it; send the last part only"
    if any(unicodedata.category(letter) in _HIDDEN for letter in name):
        return "has characters in it that nobody sees; remove them"
    return None


def type_of(headers: Mapping[str, str], allowed: Sequence[str]) -> str:
    """Return the media type, without parameters, in small letters.

    Raises:
        UnsupportedType: not a media type, or not among those that are taken.
    """
    given = headers.get("content-type", "application/octet-stream").partition(";")[0]
    name = given.strip().lower()
    whole = name.partition("/")[0] + "/*"
    if not _TYPE.fullmatch(name):
        raise UnsupportedType("Content-Type is no media type; write application/octet-stream")
    if name not in allowed and whole not in allowed and "*/*" not in allowed:
        taken = ", ".join(allowed)
        raise UnsupportedType(f"files of type {name} are not taken here; taken are {taken}")
    return name


def sha256_of(headers: Mapping[str, str]) -> str | None:
    """Return the SHA-256, in hex, that the bytes are said to have; None when nothing is said.

    Content-Digest is that of RFC 9530, `sha-256=:<base64>:`; X-Checksum-SHA256 is hex.

    Raises:
        Refused: it cannot be read.
    """
    digest, plain = headers.get("content-digest"), headers.get("x-checksum-sha256")
    if digest is not None:
        found = _DIGEST.search(digest)
        # Other algorithms may stand there beside it; alone they are none that we check.
        value = _unpacked(found.group(1)) if found else None
        if value is None:
            detail = "Content-Digest has no SHA-256; write sha-256=:<base64 of 32 bytes>:"
            raise Refused("invalid", detail, field="Content-Digest")
        return value
    if plain is not None and not _HEX.fullmatch(plain):
        detail = "X-Checksum-SHA256 is not 64 hexadecimal digits"
        raise Refused("invalid", detail, field="X-Checksum-SHA256")
    return None if plain is None else plain.lower()


def _unpacked(text: str) -> str | None:
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return value.hex() if len(value) == 32 else None


def digest_header(sha256: str) -> str:
    """Return the value of Repr-Digest (RFC 9530) for a SHA-256 in hex."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def disposition(name: str) -> str:
    """Return the Content-Disposition that has a file saved under its name, never shown.

    RFC 6266: plain ASCII for old clients, the whole name beside it.
    """
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Return which bytes are asked for, from and to before; None: all of them.

    A header that asks for several ranges, or in another unit, is ignored, as RFC 9110 (section
    14.2) allows.

    Raises:
        RangeNotSatisfiable: it begins beyond the end.
    """
    found = None if header is None else _RANGE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise RangeNotSatisfiable(size)
        return size - length, size
    start, end = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise RangeNotSatisfiable(size)
    return start, end
