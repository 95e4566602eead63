"""Fixtures: a log with the consumers of a stage, and the stage, which fails until a test mends it."""

import pytest
from nats.aio.client import Client

from infra.nats.connection import LogAddress
from infra.nats.journal import JetStreamJournal
from pipeline.engine import topology
from tests.support.bench_stage import STAGE
from tests.support.failing import FailingStage


@pytest.fixture(autouse=True)
async def _topology(client: Client) -> None:
    await topology.ensure_topology(client, [STAGE])


@pytest.fixture
def bench(log_address: LogAddress, client: Client, journal: JetStreamJournal) -> FailingStage:
    return FailingStage(log_address, client, journal)
