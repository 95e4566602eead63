"""Packing of prints: the same print has the same bytes, they unpack to the same print, and any other bytes are refused."""

import zlib
from dataclasses import fields

import numpy as np
import pytest

from infra.vision.prints import Print, pack_print, unpack_print


def make_print(features: int = 430, *, is_query: bool = False) -> Print:
    rng = np.random.default_rng(5)
    made = {
        "size": (384, 256),
        "keypoints": rng.random((features, 4)).astype(np.float32) * 300,
        "descriptors": rng.integers(0, 80, (features, 128), dtype=np.uint8),
        "words": rng.integers(0, 2**16, features, dtype=np.uint16),
        "signatures": rng.integers(0, 2**64, features, dtype=np.uint64),
        "hash": rng.bytes(32),
        "quality": 77,
        "thumb": rng.integers(0, 256, (64, 64, 3), dtype=np.uint8),
    }
    if is_query:
        made["picture"] = rng.integers(0, 256, (300, 512, 3), dtype=np.uint8)
        made["places"] = rng.random((2, 8)).astype(np.float32)
        made["place_hashes"] = rng.integers(0, 256, (3, 8, 32), dtype=np.uint8)
    return Print(**made)


def are_equal(one: Print, other: Print) -> bool:
    values = ((getattr(one, field.name), getattr(other, field.name)) for field in fields(Print))
    return all(np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype for a, b in values)


@pytest.mark.parametrize("is_query", [False, True])
@pytest.mark.parametrize("features", [0, 1, 430])
def test_a_print_unpacks_to_the_same_print(features: int, is_query: bool) -> None:
    made = make_print(features, is_query=is_query)
    assert are_equal(unpack_print(pack_print(made)), made)
    assert pack_print(made) == pack_print(unpack_print(pack_print(made)))


def test_any_other_bytes_are_refused() -> None:
    data = pack_print(make_print(20, is_query=True))
    rubbish = [b"", b"PNG", data[:4], data[:-1], data[:40], data + b"x", b"X" + data[1:], data[:14] + b"\xff" + data[15:]]
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0x40
    for each in (*rubbish, bytes(flipped)):
        with pytest.raises(ValueError, match="print"):
            unpack_print(each)


def test_a_stream_that_would_grow_without_end_is_stopped() -> None:
    header = pack_print(make_print(0))[:22]
    with pytest.raises(ValueError, match="damaged"):
        unpack_print(header + zlib.compress(bytes(200_000_000)))


def test_a_print_whose_arrays_do_not_fit_together_is_not_packed() -> None:
    made = make_print(10)
    crooked = Print(made.size, made.keypoints, made.descriptors[:9], made.words, made.signatures, made.hash, 1, made.thumb)
    with pytest.raises(ValueError, match="descriptors"):
        pack_print(crooked)
    with pytest.raises(ValueError, match="too large"):
        pack_print(Print((1, -1), made.keypoints, made.descriptors, made.words, made.signatures, made.hash, 1, made.thumb))
