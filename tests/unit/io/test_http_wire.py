"""What is said of a URL in a request, where no server is asked."""

from __future__ import annotations

import pytest

from drkit.http_wire import Headers, host_header


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://s3.example/b/k", "s3.example"),
        ("https://s3.example:443/b/k", "s3.example"),
        ("https://s3.example:9000/b/k", "s3.example:9000"),
        ("https://s3.example:80/b", "s3.example:80"),
        ("http://127.0.0.1:80/b", "127.0.0.1"),
        ("http://[::1]:9000/b", "[::1]:9000"),
        ("http://[::1]/b", "[::1]"),
    ],
)
def test_a_port_that_goes_without_saying_is_not_said(url: str, host: str) -> None:
    assert host_header(url) == host


def test_headers_are_found_in_any_case_and_come_together() -> None:
    found = Headers([("X-Hash", "crc32c=1"), ("x-hash", "md5=2"), ("ETag", "e")])
    assert found["X-HASH"] == "crc32c=1, md5=2"
    assert found.get("etag") == "e"
    assert found.get("none") is None
    assert dict(found) == {"x-hash": "crc32c=1, md5=2", "etag": "e"}
