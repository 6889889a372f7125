"""The parts of the format that need no store: seal, names, times, modes, pack, index, chunks."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import stat

import orjson
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from drkit.clock import ManualClock
from drkit.errors import DamagedData, WrongKey
from drkit.repository.format.chunker import WINDOW_BYTES, Chunker, ChunkerSettings
from drkit.repository.format.compression import compress, decompress
from drkit.repository.format.keys import ScryptCost, make_key_file, open_key_file
from drkit.repository.format.pack import BlobKind, PackBuilder, read_header
from drkit.repository.format.polynomial import is_irreducible, random_polynomial
from drkit.repository.format.quoting import quote, unquote
from drkit.repository.format.sealing import MasterKey
from drkit.repository.format.snapshot import rewritten
from drkit.repository.format.tree import (
    Node,
    decode_tree,
    encode_tree,
    format_time,
    go_mode,
    parse_time,
)
from drkit.repository.index.blobs import Index, index_content

KEY = MasterKey(bytes(range(32)), bytes(range(32, 48)), bytes(range(48, 64)))


def test_sealing_authenticates_what_it_encrypts() -> None:
    sealed = KEY.seal(b"secret" * 10)
    assert KEY.open(sealed) == b"secret" * 10
    assert b"secret" not in sealed
    for at in (0, 15, 16, 40, len(sealed) - 1):
        damaged = bytearray(sealed)
        damaged[at] ^= 1
        with pytest.raises(DamagedData):
            KEY.open(bytes(damaged))
    with pytest.raises(DamagedData):
        KEY.open(sealed[:31])
    with pytest.raises(DamagedData):
        MasterKey.generate().open(sealed)


def test_every_sealing_has_its_own_iv() -> None:
    assert len({KEY.seal(b"")[:16] for _ in range(200)}) == 200


def test_sealing_is_aes_ctr_and_poly1305_aes_worked_out_by_hand() -> None:
    plain = bytes(range(100))
    sealed = KEY.seal(plain)
    iv, ciphertext, tag = sealed[:16], sealed[16:-16], sealed[-16:]
    counters = (int.from_bytes(iv, "big") + number for number in range(7))
    blocks = b"".join(_aes(KEY.encrypt, (c % (1 << 128)).to_bytes(16, "big")) for c in counters)
    assert ciphertext == bytes(a ^ b for a, b in zip(plain, blocks, strict=False))
    r = int.from_bytes(KEY.mac_r, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(ciphertext), 16):
        block = ciphertext[start : start + 16] + b"\x01"
        total = (total + int.from_bytes(block, "little")) * r % ((1 << 130) - 5)
    total += int.from_bytes(_aes(KEY.mac_k, iv), "little")
    assert tag == (total % (1 << 128)).to_bytes(16, "little")


def _aes(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def test_the_master_key_shows_itself_nowhere() -> None:
    assert "0001" not in repr(KEY) + str(KEY)
    assert KEY.derive("a") != KEY.derive("b")
    assert len(KEY.derive("run/1/ticket", 64)) == 64


def test_a_key_file_opens_with_its_password_only() -> None:
    cost = ScryptCost(n=16)
    file = make_key_file(KEY, "right", cost=cost, clock=ManualClock(), hostname="h")
    assert open_key_file(file, "right") == KEY
    with pytest.raises(WrongKey):
        open_key_file(file, "wrong")
    with pytest.raises(WrongKey):
        open_key_file(file[:-30], "right")
    greedy = json.loads(file) | {"N": 1 << 30}
    with pytest.raises(WrongKey):
        open_key_file(orjson.dumps(greedy), "right")
    assert len(base64.b64decode(json.loads(file)["salt"])) == 64


# as Go's strconv.Quote gives them
GO_QUOTED = [
    (b"plain", "plain"),
    (b'a"b', 'a\\"b'),
    (b"a\\b", "a\\\\b"),
    (b"\n\t\r\a\b\f\v", "\\n\\t\\r\\a\\b\\f\\v"),
    (b"\x00\x01\x7f", "\\x00\\x01\\x7f"),
    (b"\xff\xfe", "\\xff\\xfe"),
    ("żółć".encode(), "żółć"),
    ("\u200b".encode(), "\\u200b"),
    ("\U000e0001".encode(), "\\U000e0001"),
    (b"'", "'"),
]


@pytest.mark.parametrize(("raw", "text"), GO_QUOTED)
def test_names_are_quoted_as_go_does(raw: bytes, text: str) -> None:
    assert quote(raw) == text
    assert unquote(text) == raw


@given(st.binary(max_size=60))
def test_any_name_survives(raw: bytes) -> None:
    assert unquote(orjson.loads(orjson.dumps(quote(raw)))) == raw


@given(st.integers(-2_000_000_000 * 10**9, 4_000_000_000 * 10**9))
def test_any_time_survives_to_the_nanosecond(time_ns: int) -> None:
    assert parse_time(format_time(time_ns)) == time_ns


def test_times_of_other_zones_and_lengths_are_read() -> None:
    assert format_time(1_500_000_000_120_000_000) == "2017-07-14T02:40:00.12Z"
    assert parse_time("2017-07-14T04:40:00.12+02:00") == 1_500_000_000_120_000_000
    assert parse_time("2017-07-14T02:40:00Z") == 1_500_000_000_000_000_000


def test_modes_are_gos() -> None:
    assert go_mode(stat.S_IFDIR | 0o1777) == ("dir", 1 << 31 | 1 << 20 | 0o777)
    assert go_mode(stat.S_IFREG | 0o6755) == ("file", 1 << 23 | 1 << 22 | 0o755)
    assert go_mode(stat.S_IFCHR | 0o600) == ("chardev", 1 << 26 | 1 << 21 | 0o600)
    assert Node(b"x", "file", 1 << 23 | 1 << 22 | 0o755, 0).permissions == 0o6755


def test_a_tree_is_sorted_by_bytes_and_files_always_have_a_content_list() -> None:
    names = [b"b", b"\xff", b"a", "é".encode(), b"B"]
    raw = encode_tree([Node(name, "file", 0o644, 0) for name in names])
    assert raw.endswith(b"]}\n")
    assert [node.name for node in decode_tree(raw)] == sorted(names)
    assert all(entry["content"] == [] for entry in json.loads(raw)["nodes"])


def test_a_pack_tells_its_blobs_back() -> None:
    builder = PackBuilder(BlobKind.DATA)
    blobs = [os.urandom(100), b"text" * 500]
    for blob in blobs:
        frame = compress(blob)
        sealed = KEY.seal(frame or blob)
        builder.add(hashlib.sha256(blob).digest(), sealed, len(blob) if frame else 0)
    pack = builder.finish(KEY)
    whole = b"".join(pack.pieces)
    assert hashlib.sha256(whole).hexdigest() == pack.id
    assert read_header(whole, KEY) == pack.blobs
    index = Index()
    index.load(index_content([pack]))
    index.sort()
    assert index.pack_sizes() == {pack.id: len(whole)}
    for broken in (whole[:-1], whole[1:], whole[:3], whole[:-4] + b"\xff\xff\xff\x7f"):
        with pytest.raises(DamagedData):
            read_header(broken, KEY)


def test_the_index_finds_each_of_many_blobs_and_no_other() -> None:
    rng = random.Random(5)
    ids = [rng.randbytes(32) for _ in range(3000)]
    ids += [ids[0][:8] + rng.randbytes(24), bytes(32), b"\xff" * 32, ids[1][:31] + b"\0"]
    index = Index()
    for start in range(0, len(ids), 500):
        blobs = [
            {"id": blob.hex(), "type": "data", "offset": at, "length": 40 + at}
            for at, blob in enumerate(ids[start : start + 500])
        ]
        index.load(orjson.dumps({"packs": [{"id": f"{start:064x}", "blobs": blobs}]}))
    index.sort()
    for number, blob in enumerate(ids):
        place = index.find(blob)
        assert place is not None
        assert (place.pack_id, place.offset) == (f"{number // 500 * 500:064x}", number % 500)
        assert place.content_bytes == 8 + number % 500
    for number in range(500):
        assert rng.randbytes(32) not in index
        assert ids[number][:31] + bytes([ids[number][31] ^ 1]) not in index
    assert index.keep_packs({f"{0:064x}"}) == tuple(f"{n:064x}" for n in range(500, 3500, 500))
    assert ids[499] in index
    assert ids[500] not in index


def test_a_blob_is_claimed_once() -> None:
    index = Index()
    index.sort()
    assert index.claim(b"a" * 32)
    assert not index.claim(b"a" * 32)


@pytest.mark.parametrize("broken", [b"", b"{}", b'{"packs":[{"id":"x"}]}', b"[1]", b"\xff"])
def test_a_broken_index_is_damage_not_a_crash(broken: bytes) -> None:
    with pytest.raises(DamagedData):
        Index().load(broken)


def test_noise_is_stored_plain_and_text_is_not() -> None:
    assert compress(os.urandom(200_000)) is None
    frame = compress(b"words " * 50_000)
    assert frame is not None
    assert decompress(frame) == b"words " * 50_000
    with pytest.raises(DamagedData):
        decompress(frame, max_raw_bytes=1000)
    with pytest.raises(DamagedData):
        decompress(frame[:-3])


def test_chunks_rejoin_keep_their_limits_and_follow_the_content() -> None:
    chunker = Chunker(ChunkerSettings(), KEY)
    data = random.Random(8).randbytes(WINDOW_BYTES)
    chunks = [bytes(chunk) for chunk in chunker.cut(memoryview(data), is_last=True)]
    assert b"".join(chunks) == data
    assert all(len(chunk) >= 512 << 10 for chunk in chunks[:-1])
    assert max(map(len, chunks)) <= 8 << 20
    early = [bytes(chunk) for chunk in chunker.cut(memoryview(data), is_last=False)]
    assert early == chunks[: len(early)]
    moved = [bytes(chunk) for chunk in chunker.cut(memoryview(b"in front" + data), is_last=True)]
    assert len(set(chunks) & set(moved)) >= len(chunks) - 2
    other = Chunker(ChunkerSettings(), MasterKey.generate())
    assert [len(c) for c in other.cut(memoryview(data), is_last=True)] != list(map(len, chunks))


def test_polynomials_are_irreducible_and_the_test_knows_others() -> None:
    assert is_irreducible(0x3DA3358B4DC173)  # the one in restic's own tests
    assert is_irreducible(random_polynomial())
    other_factor = 0x5A5A5A5A5A5A5 | 1 << 50 | 1
    product = 0
    for bit in range(51):  # times x^3 + x + 1, over GF(2)
        product ^= (0b1011 << bit) if other_factor >> bit & 1 else 0
    assert product.bit_length() == 54
    assert not is_irreducible(product)


def test_what_another_restic_put_into_a_tree_stays_in_it() -> None:
    node = {
        "name": "a",
        "type": "irregular",
        "mode": 0o644,
        "mtime": "0000-12-31T23:59:59.5+02:00",
        "uid": 1,
        "gid": 2,
        "generic_attributes": {"windows.file_attributes": 32},
        "content": None,
    }
    nodes = decode_tree(orjson.dumps({"nodes": [node], "later": True}))
    assert nodes[0].type == "irregular"
    again = orjson.loads(encode_tree(list(nodes)))["nodes"][0]
    assert again["generic_attributes"] == node["generic_attributes"]


def test_a_year_that_python_does_not_know_is_still_a_time() -> None:
    first_s = -62135596800  # of the year 1
    assert parse_time("0001-01-01T00:00:00Z") == first_s * 1_000_000_000
    assert parse_time("0000-12-31T23:59:59Z") == (first_s - 1) * 1_000_000_000


def test_the_index_of_the_first_restics_is_a_bare_list() -> None:
    blob = {"id": "ab" * 32, "type": "data", "offset": 0, "length": 40}
    index = Index()
    index.load(orjson.dumps([{"id": "cd" * 32, "blobs": [blob]}]))
    index.load(orjson.dumps({"supersedes": ["ef" * 32], "packs": []}))
    index.sort()
    assert bytes.fromhex("ab" * 32) in index


def test_a_rewritten_snapshot_keeps_what_drkit_does_not_know() -> None:
    content = orjson.dumps(
        {
            "time": "2026-01-02T03:04:05.123456789+02:00",
            "tree": "00" * 32,
            "paths": ["/a"],
            "excludes": ["*.o"],
            "uid": 5,
            "tags": ["old"],
        }
    )
    first = rewritten(content, "11" * 32, tags=["new"])
    entry = orjson.loads(rewritten(first, "22" * 32, tree="33" * 32))
    assert entry == {
        **orjson.loads(content),
        "tags": ["new"],
        "tree": "33" * 32,
        "original": "11" * 32,
    }
    assert "tags" not in orjson.loads(rewritten(first, "22" * 32, tags=[]))
