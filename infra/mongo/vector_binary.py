"""Our vector bytes to and from a BSON binary vector, which is what MongoDB indexes and stores most cheaply."""

import numpy as np
from bson.binary import VECTOR_SUBTYPE, Binary, BinaryVectorDtype


def to_binary(vector: bytes) -> Binary:
    """Little-endian float32 bytes as a BSON vector."""
    return Binary.from_vector(np.frombuffer(vector, "<f4"), BinaryVectorDtype.FLOAT32)


def from_binary(value: bytes) -> bytes:
    """A BSON vector, or the bare bytes of one, as little-endian float32 bytes."""
    return np.asarray(Binary(value, VECTOR_SUBTYPE).as_vector().data, "<f4").tobytes()
