"""Headers of files: names that are no paths, types, checksums, ranges."""

import base64
import hashlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.api.errors import RangeNotSatisfiable, UnsupportedType
from src.api.file_headers import (
    digest_header,
    disposition,
    name_of,
    range_of,
    sha256_of,
    type_of,
)
from src.state.errors import Refused

DIGEST = hashlib.sha256(b"abc").digest()


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, "file"),
        ({"x-file-name": "plan.pdf"}, "plan.pdf"),
        ({"x-file-name": "caf%C3%A9 %E2%82%AC.txt"}, "café €.txt"),
        ({"x-file-name": "100%.txt"}, "100%.txt"),
        ({"content-disposition": 'attachment; filename="a b.txt"'}, "a b.txt"),
        ({"content-disposition": "attachment; filename*=UTF-8''caf%C3%A9.txt"}, "café.txt"),
        (
            {"content-disposition": "attachment; filename=\"x\"; filename*=UTF-8''%E2%82%AC"},
            "€",
        ),
        ({"content-disposition": "attachment", "x-file-name": "b"}, "b"),
        ({"content-disposition": "attachment; filename=c", "x-file-name": "b"}, "c"),
        ({"x-file-name": "..."}, "..."),
    ],
)
def test_name_is_read_from_either_header(headers: dict[str, str], name: str) -> None:
    assert name_of(headers) == name


@pytest.mark.parametrize(
    "name",
    [
        "../etc/passwd",
        "..%2F..%2Fetc%2Fpasswd",
        "/etc/passwd",
        "C:\\windows\\x",
        "..%5Cx",
        ".",
        "..",
        "",
        "%20",
        "a%00.txt",
        "a%0D%0ASet-Cookie: x",
        "%E2%80%AEgpj.exe",
        "a%7F",
        "%FF%FE",
        "x" * 256,
        "%E2%82%AC" * 86,
    ],
)
@pytest.mark.parametrize(
    ("header", "form", "field"),
    [
        ("x-file-name", "{}", "X-File-Name"),
        ("content-disposition", 'attachment; filename="{}"', "Content-Disposition"),
        ("content-disposition", "attachment; filename*=UTF-8''{}", "Content-Disposition"),
    ],
)
def test_name_with_anything_of_a_path_is_refused(
    name: str, header: str, form: str, field: str
) -> None:
    if "\\" in name and "filename=" in form:
        name = name.replace("\\", "\\\\")
    with pytest.raises(Refused) as refused:
        name_of({header: form.format(name)})
    assert (refused.value.code, refused.value.field) == ("invalid", field)


@given(st.text(st.characters(max_codepoint=255), max_size=300))
def test_whatever_a_client_sends_is_a_plain_name_or_refused(text: str) -> None:
    for header in ("x-file-name", "content-disposition"):
        try:
            name = name_of({header: text})
        except Refused:
            continue
        assert name not in ("", ".", "..")
        assert not set(name) & set("/\\\0\r\n")
        assert len(name.encode()) <= 255
        disposition(name).encode("ascii")


@given(st.text(min_size=1, max_size=60))
def test_name_comes_back_from_the_disposition_that_carries_it(text: str) -> None:
    try:
        name = name_of({"x-file-name": quote(text)})
    except (Refused, UnicodeEncodeError):
        return
    assert name == text
    assert name_of({"content-disposition": disposition(name)}) == name


def test_parameter_inside_a_quoted_name_is_part_of_it() -> None:
    header = "attachment; filename=\"a; filename*=UTF-8''b\""
    assert name_of({"content-disposition": header}) == "a; filename*=UTF-8''b"


def test_disposition_shows_no_quote_and_no_line_end() -> None:
    assert disposition('a"b\\c\r\n%é') == (
        "attachment; filename=\"a_b_c____\"; filename*=UTF-8''a%22b%5Cc%0D%0A%25%C3%A9"
    )


def test_type_is_taken_when_it_or_its_family_is_allowed() -> None:
    allowed = ("audio/*", "application/pdf")
    assert type_of({"content-type": "Audio/Ogg; codecs=opus"}, allowed) == "audio/ogg"
    assert type_of({"content-type": "application/pdf"}, allowed) == "application/pdf"
    assert type_of({}, ("*/*",)) == "application/octet-stream"


@pytest.mark.parametrize("given", ["application/zip", "audio", "audio/ogg x", "", "a/b/c", "/"])
def test_other_types_are_refused(given: str) -> None:
    with pytest.raises(UnsupportedType):
        type_of({"content-type": given}, ("audio/ogg",))


@pytest.mark.parametrize(
    "headers",
    [
        {"content-digest": f"sha-256=:{base64.b64encode(DIGEST).decode()}:"},
        {"content-digest": f"md5=:AAAA:, sha-256=:{base64.b64encode(DIGEST).decode()}:"},
        {"x-checksum-sha256": DIGEST.hex()},
        {"x-checksum-sha256": DIGEST.hex().upper()},
    ],
)
def test_checksum_is_read_in_both_forms(headers: dict[str, str]) -> None:
    assert sha256_of(headers) == DIGEST.hex()


@pytest.mark.parametrize(
    "headers",
    [
        {"content-digest": "md5=:AAAA:"},
        {"content-digest": "sha-256=:AAAA:"},
        {"content-digest": "sha-256=:A:"},
        {"x-checksum-sha256": "abc"},
        {"x-checksum-sha256": "g" * 64},
    ],
)
def test_checksum_that_cannot_be_checked_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refused):
        sha256_of(headers)


def test_checksum_may_be_left_out() -> None:
    assert sha256_of({}) is None


def test_digest_header_is_read_back() -> None:
    assert sha256_of({"content-digest": digest_header(DIGEST.hex())}) == DIGEST.hex()


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-3", (0, 4)),
        ("bytes=4-", (4, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=8-99", (8, 10)),
        ("bytes=9-9", (9, 10)),
        ("bytes=5-3", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
    ],
)
def test_range_says_which_bytes(header: str | None, wanted: tuple[int, int] | None) -> None:
    assert range_of(header, 10) == wanted


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_range_beyond_the_end_is_not_satisfiable(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable, match=f"{size} bytes"):
        range_of(header, size)
