"""The MongoDB client: bad connection strings are refused without showing their password, and outages are told from bugs."""

import traceback

import pytest
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    DuplicateKeyError,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from contracts.errors import MapSeekError, Unavailable
from infra.mongo.client import open_database, translate_outages


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "s3cret",
        "postgres://user:s3cret@host",
        "mongodb://user:s3cret@",
        "mongodb://us:er:s3cret@host/",
        "mongodb://user:s3cret@host:99999",
        "mongodb://user:x/s3cret@host/",
    ],
)
async def test_a_bad_connection_string_is_refused_without_showing_it(uri: str) -> None:
    with pytest.raises(MapSeekError, match="mongodb://user:password@host:27017") as failure:
        open_database(uri, "mapseek")
    assert "s3cret" not in "".join(traceback.format_exception(failure.value, chain=True)).replace(repr(uri), "")


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("connection closed"),
        NetworkTimeout("timed out"),
        ServerSelectionTimeoutError("no servers found"),
        WaitQueueTimeoutError("pool exhausted"),
        ConfigurationError("The DNS query name does not exist"),
        OperationFailure("bad auth", code=18),
        OperationFailure("disk full", code=14031),
        OperationFailure("cursor not found", code=43),
        WTimeoutError("waiting for replication timed out", code=64),
        OperationFailure("stepping down", code=11602, details={"errorLabels": ["RetryableWriteError"]}),
    ],
)
def test_a_server_that_is_down_or_refuses_us_is_unavailable(error: PyMongoError) -> None:
    with pytest.raises(Unavailable, match=r"^catalogue is unavailable: ") as failure, translate_outages("catalogue"):
        raise error
    assert failure.value.dependency == "catalogue"


@pytest.mark.parametrize("error", [OperationFailure("bad query", code=2), DuplicateKeyError("twice", code=11000), KeyError("bug")])
def test_a_bug_stays_a_bug(error: Exception) -> None:
    with pytest.raises(type(error)), translate_outages("catalogue"):
        raise error
