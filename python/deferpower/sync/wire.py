"""Items as the body and headers of one HTTP request. `HttpTarget` describes the form."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from deferpower.sync.target import JSON_TYPE, SyncItem

OWN_HEADERS: Final = frozenset(
    {
        "content-encoding",
        "content-length",
        "content-type",
        "deferpower-batch",
        "deferpower-key",
        "host",
        "idempotency-key",
        "transfer-encoding",
    }
)
"""The headers that a request sets itself, in lower case."""

_CHUNK_BYTES = 1 << 18


class FileBody:
    """The content of a file, in chunks, as often as it is asked for: digests ask twice."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with await asyncio.to_thread(self._path.open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                yield chunk


class Message(NamedTuple):
    """Headers and body of a request."""

    headers: dict[str, str]
    body: bytes | FileBody
    size_bytes: int


def message(items: Sequence[SyncItem], compress: bool) -> Message:
    """One or more items as a request.

    Args:
        items: a single one is sent as itself, and streamed if it is a file.
        compress: with gzip, but for a streamed file.

    Raises:
        OSError: the file of an item cannot be read.
    """
    if len(items) > 1:
        keys = json.dumps([item.idempotency_key for item in items])
        headers = {
            "Content-Type": JSON_TYPE,
            "Deferpower-Batch": str(len(items)),
            "Idempotency-Key": hashlib.sha256(keys.encode()).hexdigest()[:32],
        }
        body = b"[" + b",".join(map(_element, items)) + b"]"
    else:
        (item,) = items
        headers = {"Content-Type": item.content_type, "Idempotency-Key": item.idempotency_key}
        if item.key is not None:
            headers["Deferpower-Key"] = quote(item.key, safe="")
        if isinstance(item.content, Path):
            size_bytes = item.size_bytes
            headers["Content-Length"] = str(size_bytes)
            return Message(headers, FileBody(item.content), size_bytes)
        body = item.body
    if compress:
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, 6, mtime=0)
    return Message(headers, body, len(body))


def fault(item: SyncItem) -> str:
    """Why an item cannot be put into headers; empty if it can."""
    for name in ("content_type", "idempotency_key"):
        value = getattr(item, name)
        if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", value):
            return f"{name} is not what HTTP allows in a header: {value!r}"
    return ""


def _element(item: SyncItem) -> bytes:
    head = f'{{"idempotency_key":{json.dumps(item.idempotency_key)},"key":{json.dumps(item.key)},'
    if item.content_type == JSON_TYPE:
        return b'%b"data":%b}' % (head.encode(), item.body)
    head += f'"content_type":{json.dumps(item.content_type)},'
    return b'%b"data_base64":"%b"}' % (head.encode(), b64encode(item.body))
