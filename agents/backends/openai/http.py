"""One HTTP exchange with a server that is not trusted: bounded in time and in bytes, whatever comes back."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

LONGEST_ANSWER = 16 * 2**20
"""Largest number of bytes, after decompression, that are read of an answer."""


class Answer(msgspec.Struct, frozen=True):
    """The answer to a request."""

    status: int
    headers: Mapping[str, str]
    """Header names are in lower case."""
    body: bytes


class NoAnswer(Exception):
    """No readable answer came back in time; the message says what happened."""


async def exchange(
    client: httpx.AsyncClient, method: str, url: str, body: Any = None, *, timeout_s: float
) -> Answer:
    """Send one request and read its answer whole. Raises NoAnswer, within the time limit."""
    try:
        return await asyncio.wait_for(_exchange(client, method, url, body), timeout_s)
    except TimeoutError:
        raise NoAnswer(f"not within {timeout_s:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, ValueError) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}".rstrip(": ")) from error


async def _exchange(client: httpx.AsyncClient, method: str, url: str, body: Any) -> Answer:
    content = None if body is None else _encoded(body)
    headers = {"Accept-Encoding": "identity"} | ({} if body is None else {"Content-Type": "application/json"})
    async with client.stream(method, url, headers=headers, content=content) as response:
        packing = response.headers.get("content-encoding", "identity").strip().casefold()
        unpack = None if packing in ("", "identity") else _unpacker(packing)
        found = bytearray()
        async for chunk in response.aiter_raw():
            room = LONGEST_ANSWER + 1 - len(found)
            found += chunk[:room] if unpack is None else unpack.decompress(chunk, room)
            if len(found) > LONGEST_ANSWER:
                raise NoAnswer(
                    f"the answer is longer than {LONGEST_ANSWER // 2**20} MB, and was read no further"
                )
        return Answer(response.status_code, dict(response.headers), bytes(found))


def _encoded(body: Any) -> bytes:
    """The body as JSON. Half a surrogate pair, which UTF-8 does not have, becomes a replacement character."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _unpacker(packing: str) -> Any:
    if packing not in ("gzip", "x-gzip", "deflate"):
        raise NoAnswer(f"the answer is packed as {packing!r}, though it was asked for unpacked")
    return _Inflate()


class _Inflate:
    """Unpacks gzip and zlib streams piece by piece, never more than there is room for."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def decompress(self, chunk: bytes, room: int) -> bytes:
        """Raises NoAnswer."""
        try:
            return self._inner.decompress(chunk, room)
        except zlib.error as error:
            raise NoAnswer(f"the answer's packing is broken ({error})") from error
