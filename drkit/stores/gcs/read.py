"""Reads and lists of Cloud Storage: exactly what was asked for, whole, or an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from drkit.stores.gcs.calls import Answer, AskAgain, Calls
from drkit.stores.gcs.checksum import Crc32c
from drkit.stores.interface import ObjectInfo, StoreUnreachable
from drkit.stores.names import is_safe_name

_PAGE = 1000
_MOST_PAGES = 100_000


def read_whole(calls: Calls, full: str, *, ends_s: float) -> tuple[bytes, Mapping[str, str]]:
    """All bytes, which have the CRC32C that the answer names; and the answer's headers. One try."""
    answer = _media(calls, full, {}, ends_s)
    size_bytes = answer.headers.get("Content-Length", "")
    if not size_bytes.isdigit():
        answer.drop()
        raise _odd(calls, full, "came without its length")
    data = calls.read_body(f"read {full}", answer, int(size_bytes))
    said = _crc32c_of(answer.headers)
    if said is not None and said != Crc32c().update(data).written():
        raise _odd(calls, full, "came with other bytes than its checksum says")
    return data, answer.headers


def read_range(calls: Calls, full: str, offset: int, length: int | None, *, ends_s: float) -> bytes:
    """`length` bytes (not 0), or all that follow; `StoreUnreachable` past the end. One try."""
    last = "" if length is None else offset + length - 1
    answer = _media(calls, full, {"Range": f"bytes={offset}-{last}"}, ends_s)
    if answer.status == 416:
        answer.drop()
        size_bytes = size_of(calls, full, ends_s=ends_s)
        if length is None and offset == size_bytes:
            return b""
        raise too_short(calls, full, offset, length, size_bytes)
    first, end, size_bytes = _content_range(answer.headers.get("Content-Range", ""))
    wanted = size_bytes - offset if length is None else length
    if answer.status == 206 and 0 < size_bytes < offset + wanted:
        answer.drop()
        raise too_short(calls, full, offset, length, size_bytes)
    if answer.status != 206 or (first, end) != (offset, offset + wanted - 1):
        answer.drop()
        raise _odd(calls, full, f"came as bytes {first} to {end}, which was not asked for")
    return calls.read_body(f"read {full}", answer, wanted)


def size_of(calls: Calls, full: str, *, ends_s: float) -> int:
    """The object's size in bytes. Raises `ObjectMissing`."""
    return _size_in(calls, about(calls, full, "size", ends_s=ends_s))


def about(calls: Calls, full: str, fields: str, *, ends_s: float) -> dict[str, Any]:
    """The named fields of the object's metadata; asked again while that helps."""
    url = calls.objects_url(full, fields=fields)
    return calls.again(
        lambda: calls.ask(f"look at {full}", "GET", url, ends_s=ends_s).json, ends_s=ends_s
    )


def pages(calls: Calls, folder: str, prefix: str) -> Iterator[ObjectInfo]:
    """Objects whose full name starts with `folder` and `prefix`, without `folder`."""
    token = None
    for _ in range(_MOST_PAGES):
        page = _page(calls, folder + prefix, token)
        items = page.get("items", [])
        for item in items if isinstance(items, list) else [None]:
            named = item if isinstance(item, dict) else {}
            full = named.get("name")
            if not isinstance(full, str) or not full.startswith(folder + prefix):
                raise _odd(calls, "its list", "names what was not asked for")
            name = full[len(folder) :]
            if is_safe_name(name):
                yield ObjectInfo(name, _size_in(calls, named))
        before, token = token, page.get("nextPageToken")
        if not token:
            return
        if token == before or not isinstance(token, str):
            break
    raise _odd(calls, "its list", "does not end")


def too_short(
    calls: Calls, full: str, offset: int, length: int | None, size_bytes: int | None
) -> StoreUnreachable:
    has = "fewer bytes" if size_bytes is None else f"{size_bytes} bytes"
    wanted = "on" if length is None else length
    return StoreUnreachable(
        f"{calls.store}: {full} has {has}, too few to read {wanted} at {offset}",
        hint="the object is truncated here; read it from another store",
    )


def _media(calls: Calls, full: str, headers: Mapping[str, str], ends_s: float) -> Answer:
    return calls.ask(
        f"read {full}",
        "GET",
        calls.objects_url(full, alt="media"),
        headers=headers,
        expect=frozenset({206, 416} if headers else {200}),
        ends_s=ends_s,
        stream=True,
    )


def _page(calls: Calls, prefix: str, token: str | None) -> dict[str, Any]:
    ends_s = calls.ends_s()
    url = calls.objects_url(
        prefix=prefix,
        maxResults=_PAGE,
        fields="items(name,size),nextPageToken",
        pageToken=token,
    )
    return calls.again(
        lambda: calls.ask(f"list {prefix}", "GET", url, ends_s=ends_s).json, ends_s=ends_s
    )


def _content_range(value: str) -> tuple[int, int, int]:
    """(first, last, size) of `bytes 0-9/100`; (-1, -1, -1) for anything else."""
    span, _, size = value.removeprefix("bytes ").partition("/")
    first, _, last = span.partition("-")
    if all(part.isdigit() and len(part) < 20 for part in (first, last, size)):
        return int(first), int(last), int(size)
    return -1, -1, -1


def _crc32c_of(headers: Mapping[str, str]) -> str | None:
    for part in headers.get("X-Goog-Hash", "").split(","):
        kind, _, value = part.strip().partition("=")
        if kind == "crc32c":
            return value
    return None


def _size_in(calls: Calls, item: Mapping[str, Any]) -> int:
    size = str(item.get("size"))
    if size.isdigit() and len(size) < 20:
        return int(size)
    raise _odd(calls, "an object", "has no size")


def _odd(calls: Calls, what: str, why: str) -> AskAgain:
    return AskAgain(
        f"{calls.store}: {what} {why}",
        hint="look at what lies between here and the store; is the endpoint Cloud Storage?",
    )
