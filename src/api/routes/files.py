"""Files of conversations: upload and download as streams, list, delete."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from src.api.auth.rules import check_delete_file, check_read, check_upload
from src.api.dependencies import (
    ID,
    KEY,
    Caller,
    ConversationId,
    FileId,
    FileStore,
    Limit,
    Service,
    Settings,
)
from src.api.file_headers import (
    digest_header,
    disposition,
    name_of,
    range_of,
    sha256_of,
    type_of,
)
from src.api.ids import new_id
from src.api.schemas import answers
from src.api.schemas.answers import FileInfo, FileList, json_response
from src.api.schemas.openapi import Responses, answer, problems
from src.api.transfers import download, incoming
from src.state.records.files import File
from src.swarm.files import Upload

UPLOADS = "/files"

router = APIRouter(tags=["files"])

_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "The bytes themselves, of the type that Content-Type says; no form",
        "content": {"application/octet-stream": _BYTES | {"example": "any bytes"}},
    }
}
_CONTENT: Responses = {
    200: {"description": "The whole file", "content": {"*/*": _BYTES}},
    206: {"description": "The range that was asked for", "content": {"*/*": _BYTES}},
    304: {"description": "If-None-Match names the file's ETag"},
}
_FILE = {
    "id": "01a1b2c3-d4e5-7f60-8a9b-0c1d2e3f4a5b",
    "conversation_id": "c-1",
    "name": "plan.pdf",
    "type": "application/pdf",
    "bytes": 48213,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "created_by": "zoe",
    "created_at": "2026-01-02T03:04:05Z",
    "recording": None,
    "repeated": False,
}

UploadKey = Annotated[
    str | None,
    Header(pattern=KEY, description="Repeat an upload with the same key and it is stored once"),
]
IfNoneMatch = Annotated[str | None, Header(description="An ETag you have")]


@router.post(
    UPLOADS,
    status_code=201,
    summary="Upload a file",
    openapi_extra=_BODY,
    responses=answer(FileInfo, "Stored", status=201, example=_FILE)
    | problems(400, 404, 408, 409, 413, 415),
)
async def upload(
    request: Request,
    service: Service,
    files: FileStore,
    caller: Caller,
    settings: Settings,
    conversation_id: Annotated[str, Query(pattern=ID, description="To which it belongs")],
    idempotency_key: UploadKey = None,
    x_file_name: Annotated[
        str | None, Header(description="The file's name, UTF-8, percent-encoded")
    ] = None,
    content_disposition: Annotated[
        str | None, Header(description="The same as `filename` or `filename*`; it goes first")
    ] = None,
    content_digest: Annotated[
        str | None, Header(description="`sha-256=:<base64>:` of the bytes (RFC 9530): checked")
    ] = None,
    x_checksum_sha256: Annotated[
        str | None, Header(description="The same in hexadecimal digits")
    ] = None,
) -> Response:
    """Store a file while it comes in: whole, with the checksum that was announced, or not at all.

    Its name is only a label; the server makes the id.
    """
    found = await service.read(conversation_id)
    check_upload(caller, found.entry.state)
    headers = request.headers
    given = Upload(
        new_id(),
        conversation_id,
        name_of(headers),
        type_of(headers, settings.file_types),
        caller.id,
        sha256_of(headers),
        idempotency_key,
    )
    parts = incoming(request)
    file, repeated = await files.upload(given, parts)
    place = {"Location": f"/api/v1{UPLOADS}/{file.id}", "ETag": f'"{file.sha256}"'}
    return json_response(answers.file(file, repeated=repeated), 201, place)


@router.get(
    UPLOADS + "/{file_id}",
    summary="Download a file",
    response_class=Response,
    responses=_CONTENT | problems(404, 416),
)
async def read(
    file_id: FileId,
    service: Service,
    files: FileStore,
    caller: Caller,
    settings: Settings,
    range: Annotated[
        str | None, Header(description="`bytes=<from>-<to>`, one range of the file")
    ] = None,
    if_range: Annotated[
        str | None, Header(description="The ETag of the file that the range is of")
    ] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read a file or a range of it. It is sent to be saved, never to be shown by a browser."""
    file = await _readable(file_id, service, files, caller)
    headers = _headers(file)
    if _is_known(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    wanted = None
    if if_range in (None, headers["ETag"]):
        wanted = range_of(range, file.bytes)
    start, end = wanted or (0, file.bytes)
    headers |= {"Content-Type": file.type, "Content-Length": str(end - start)}
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.bytes}"
    status: Literal[200, 206] = 200 if wanted is None else 206
    parts = files.read(file, start, end)
    return await download(parts, status, headers, settings.file_patience.total_seconds())


@router.head(
    UPLOADS + "/{file_id}",
    response_class=Response,
    summary="Look at a file's headers",
    responses=answer(None, "The headers of a download")
    | answer(None, "If-None-Match names the file's ETag", status=304)
    | problems(404),
)
async def look(
    file_id: FileId,
    service: Service,
    files: FileStore,
    caller: Caller,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Learn a file's size, type, name and checksum."""
    file = await _readable(file_id, service, files, caller)
    headers = _headers(file)
    if _is_known(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    whole = {"Content-Type": file.type, "Content-Length": str(file.bytes)}
    return Response(headers=headers | whole)


@router.delete(
    UPLOADS + "/{file_id}",
    status_code=204,
    summary="Delete a file",
    responses=answer(None, "Deleted", status=204) | problems(404),
)
async def delete(file_id: FileId, service: Service, files: FileStore, caller: Caller) -> Response:
    """Delete a file for good; its uploader may, and the creator of its conversation."""
    file = await files.get(file_id)
    found = await service.read(file.conversation_id)
    check_delete_file(caller, found.entry.state, file.created_by)
    await files.delete(file_id)
    return Response(status_code=204)


@router.get(
    "/conversations/{conversation_id}/files",
    summary="List the files of a conversation",
    responses=answer(FileList, "A page, newest first") | problems(404),
)
async def list_files(
    conversation_id: ConversationId,
    service: Service,
    files: FileStore,
    caller: Caller,
    cursor: Annotated[
        str | None, Query(pattern=ID, description="`next_cursor` of the page before")
    ] = None,
    limit: Limit = 50,
) -> Response:
    """List what can be downloaded."""
    found = await service.read(conversation_id)
    check_read(caller, found.entry.state)
    page, following = await files.list(conversation_id, cursor, limit)
    return json_response(
        FileList(conversation_id, tuple(answers.file(one) for one in page), following)
    )


async def _readable(file_id: str, service: Service, files: FileStore, caller: Caller) -> File:
    file = await files.get(file_id)
    found = await service.read(file.conversation_id)
    check_read(caller, found.entry.state)
    return file


def _headers(file: File) -> dict[str, str]:
    return {
        "ETag": f'"{file.sha256}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition(file.name),
        # Should a browser show it nevertheless, it loads and runs nothing, as nobody.
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Repr-Digest": digest_header(file.sha256),
    }


def _is_known(if_none_match: str | None, etag: str) -> bool:
    given = (if_none_match or "").split(",")
    return any(one.strip().removeprefix("W/") in ("*", etag) for one in given)
