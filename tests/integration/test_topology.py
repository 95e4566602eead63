"""Streams and consumers: created when missing, refused when different, and changed only on request."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, StreamConfig

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.generations import Generations
from infra.nats.connection import LogAddress, connect
from infra.nats.journal import JetStreamJournal
from pipeline.engine import topology
from pipeline.engine.consumers import plan_consumers
from pipeline.engine.registry import STAGES
from tests.support.bench_stage import STAGE, count_messages
from tests.support.facts import founding_facts, posted


async def test_a_new_server_gets_all_streams_and_consumers(client: Client) -> None:
    missing = await topology.find_differences(client, STAGES)
    assert all(difference.missing for difference in missing)
    assert {str(difference) for difference in missing} >= {
        "stream IMAGES is missing",
        "consumer embed-search of SEARCHES is missing",
    }
    await topology.ensure_topology(client, STAGES)
    assert await topology.find_differences(client, STAGES) == []
    await topology.ensure_topology(client, STAGES)


def test_every_stage_has_a_consumer_in_each_of_its_lanes() -> None:
    started, _ = founding_facts()
    generations = Generations().with_fact(started, 1)
    names = {durable.name for durable in plan_consumers(STAGES, generations)}
    assert names == {
        "download-image",
        "download-search",
        "preprocess-image",
        "preprocess-search",
        "fingerprint-image-g1",
        "fingerprint-search",
        "embed-image-g1",
        "embed-search",
        "embed-alert-g1",
        "persist-image",
        "persist-image-g1",
        "link-image-g1",
        "match-search",
        "reply-search",
        "judge-search",
        "alert-alert",
        "alert-image-g1",
        "notify-image",
        "notify-alert",
        "remove-removal",
        "erase-image",
    }


def test_posts_have_no_age_limit_and_searches_are_kept_seven_days() -> None:
    ages = {stream.name: stream.max_age for stream in topology.plan_streams()}
    assert ages == {
        "IMAGES": 0,
        "SEARCHES": 7 * 86400,
        "JUDGEMENTS": 0,
        "ALERTS": 0,
        "REMOVALS": 30 * 86400,
        "FAILURES": 30 * 86400,
        "RETRIES": 30 * 86400,
        "INCIDENTS": 30 * 86400,
    }


async def test_a_different_stream_is_refused_with_one_sentence_and_changed_on_request(
    client: Client, journal: JetStreamJournal
) -> None:
    await topology.ensure_topology(client, [STAGE])
    await journal.record(posted(), Origin("m"))
    js = client.jetstream()
    config = (await js.stream_info("IMAGES")).config
    await js.update_stream(config.evolve(max_age=3600.0))
    with pytest.raises(MapSeekError, match=r"stream IMAGES: max_age is 3600.*topology apply"):
        await topology.ensure_topology(client, [STAGE])
    await topology.update_topology(client, [STAGE])
    await topology.ensure_topology(client, [STAGE])
    assert await count_messages(client, "IMAGES") == 1


async def test_a_different_consumer_is_refused(client: Client) -> None:
    await topology.ensure_topology(client, [STAGE])
    js = client.jetstream()
    current = (await js.consumer_info("IMAGES", "download-image")).config
    await js.add_consumer("IMAGES", ConsumerConfig(**{**current.__dict__, "max_deliver": 5}))
    with pytest.raises(MapSeekError, match="consumer download-image of IMAGES: max_deliver is 5, not -1"):
        await topology.ensure_topology(client, [STAGE])


@contextmanager
def fails_with_one_sentence(about: str) -> Iterator[None]:
    with pytest.raises(MapSeekError, match=about) as caught:
        yield
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_an_unreachable_server_is_reported_in_one_sentence_without_its_password() -> None:
    with fails_with_one_sentence(r"No NATS server answers at nats://\*\*\*@127.0.0.1:1"):
        await connect(LogAddress("nats://user:s3cret@127.0.0.1:1"), "test", timeout=0.5)


async def test_subjects_of_another_stream_are_reported_in_one_sentence(client: Client) -> None:
    await client.jetstream().add_stream(StreamConfig(name="OTHER", subjects=["mapseek.>"]))
    with fails_with_one_sentence("could not create the streams"):
        await topology.ensure_topology(client, [STAGE])
