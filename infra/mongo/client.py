"""The MongoDB driver: connect, tell outages from bugs, and convert vectors.

Only this module knows which driver is used. motor is in maintenance; its successor, pymongo's AsyncMongoClient, has the same calls,
so only this module will change.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from bson.binary import VECTOR_SUBTYPE, Binary, BinaryVectorDtype
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import ConfigurationError, ConnectionFailure, OperationFailure

from contracts.errors import MapSeekError, Unavailable

Database = AsyncIOMotorDatabase[dict[str, Any]]
Documents = AsyncIOMotorCollection[dict[str, Any]]

_ACCESS_REFUSED = frozenset({13, 18, 8000})
"""Unauthorized, AuthenticationFailed, AtlasError (wrong user or password on Atlas)."""

_OUT_OF_ORDER = frozenset({43, 50, 64, 14031})
"""CursorNotFound, MaxTimeMSExpired, WriteConcernFailed, OutOfDiskSpace. The same call may work later."""


def open_database(uri: str, database: str, *, timeout_s: float = 2.0) -> Database:
    """Open a database with a connection pool; nothing is sent yet. `timeout_s` is how long a call waits for a server.

    Raises MapSeekError if the connection string cannot be used. The error text has no part of the string, which has the password.
    Reads go to the primary and writes to the majority, since every later write must see a removal.
    """
    wait_ms = int(timeout_s * 1000)
    if not uri.startswith(("mongodb://", "mongodb+srv://")):
        raise _unusable("it does not begin with mongodb:// or mongodb+srv://")
    try:
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
            uri, appname="mapseek", serverSelectionTimeoutMS=wait_ms, connectTimeoutMS=wait_ms, socketTimeoutMS=10 * wait_ms
        )
    except (ConfigurationError, ValueError) as error:
        raise _unusable(f"the driver says {type(error).__name__}") from None
    return client.get_database(database, read_preference=ReadPreference.PRIMARY, write_concern=WriteConcern("majority"))


def _unusable(why: str) -> MapSeekError:
    return MapSeekError(
        f"The MongoDB connection string cannot be used ({why}): write it as mongodb://user:password@host:27017 "
        "with special characters in user and password percent-encoded."
    )


@contextmanager
def translate_outages(dependency: str) -> Iterator[None]:
    """Turn the driver's errors about a server that is down or refuses access into Unavailable, for that dependency."""
    try:
        yield
    except ConfigurationError as error:
        raise Unavailable(dependency, "the MongoDB connection string leads to no usable server") from error
    except ConnectionFailure as error:
        raise Unavailable(dependency, f"MongoDB does not answer ({type(error).__name__})") from error
    except OperationFailure as error:
        if error.code in _ACCESS_REFUSED:
            raise Unavailable(dependency, "MongoDB refuses the user or password of its connection string") from error
        if error.code in _OUT_OF_ORDER or error.has_error_label("RetryableWriteError"):
            raise Unavailable(
                dependency, f"MongoDB cannot serve now ({error.details and error.details.get('codeName')})"
            ) from error
        raise


def to_binary(vector: bytes) -> Binary:
    """Convert little-endian float32 bytes to a BSON vector, which MongoDB indexes and stores most cheaply."""
    return Binary.from_vector(np.frombuffer(vector, "<f4"), BinaryVectorDtype.FLOAT32)


def from_binary(value: bytes) -> bytes:
    """Convert a BSON vector, or its raw bytes, to little-endian float32 bytes."""
    return np.asarray(Binary(value, VECTOR_SUBTYPE).as_vector().data, "<f4").tobytes()
