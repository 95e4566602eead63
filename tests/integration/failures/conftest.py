"""A log with the consumers of a stage that fails until it is mended."""

import pytest
from nats.aio.client import Client

from infra.nats.journal import JetStreamJournal
from pipeline.engine import topology
from tests.support.bench_stage import STAGE
from tests.support.failing import FailingStage


@pytest.fixture(autouse=True)
async def _provisioned(client: Client) -> None:
    await topology.ensure_topology(client, [STAGE])


@pytest.fixture
def bench(nats_url: str, client: Client, journal: JetStreamJournal) -> FailingStage:
    return FailingStage(nats_url, client, journal)
