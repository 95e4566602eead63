"""The runner on a real nats-server: each fact is recorded once, nothing is lost, and every failure becomes a dead letter."""

import asyncio
from collections.abc import Sequence

import orjson
import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.errors import Reject, RejectCode, Retry, Unavailable
from contracts.events.base import Fact
from contracts.subjects import subject_of
from infra.nats.connection import LogAddress
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import decode_fact, encode_body
from pipeline.engine import consumers, topology
from tests.support.bench_stage import STAGE, count_messages, count_unsettled, downloaded, last_dead_letter, run_stage
from tests.support.facts import posted, requested
from tests.support.waiting import eventually

DOWNLOADED = "mapseek.image.downloaded.>"


async def read_last_fact(client: Client, subject: str) -> Fact:
    message = await client.jetstream().get_last_msg("IMAGES" if ".image." in subject else "SEARCHES", subject)
    return decode_fact(message.subject or "", message.headers, message.data or b"").fact


@pytest.fixture
async def provisioned(client: Client) -> None:
    await topology.ensure_topology(client, [STAGE])


async def wait_until_settled(client: Client, family: str = "image") -> None:
    stream = "IMAGES" if family == "image" else "SEARCHES"

    async def none_left() -> bool:
        return await count_unsettled(client, stream, f"download-{family}") == 0

    await eventually(none_left)


async def test_a_resulting_fact_names_its_correlation_and_its_cause(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    async def work(event: Fact) -> Sequence[Fact]:
        return [downloaded(event)]

    await journal.record(posted(), Origin("message-10"))
    async with run_stage(log_address, client, journal, work):
        await wait_until_settled(client)
    message = await client.jetstream().get_last_msg("IMAGES", DOWNLOADED)
    assert message.headers is not None
    assert message.headers["ce-correlationid"] == "message-10"
    assert message.headers["ce-causationid"] == "mapseek.image.posted.v1.7.9.10"
    assert await read_last_fact(client, DOWNLOADED) == downloaded(posted())


async def test_a_fact_is_recorded_once_even_if_its_cause_is_delivered_twice(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    assert await journal.record(posted(), Origin("m"))
    assert not await journal.record(posted(), Origin("m"))
    assert await journal.record(downloaded(posted()), Origin("earlier, by a process that was killed before its ack"))

    async def work(event: Fact) -> Sequence[Fact]:
        return [downloaded(event)]

    async with run_stage(log_address, client, journal, work) as runtime:
        await wait_until_settled(client)
    assert await count_messages(client, "IMAGES", DOWNLOADED) == 1
    assert await count_messages(client, "FAILURES") == 0
    assert runtime.metrics.already_recorded.labels("download", "image")._value.get() == 1


async def test_what_cannot_be_recorded_yet_is_recorded_before_its_cause_is_acknowledged(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, refused = journal.record, 0

    async def refuse_at_first(fact: Fact, origin: Origin) -> bool:
        nonlocal refused
        if refused < 3 and fact == downloaded(posted()):
            refused += 1
            raise Unavailable("log", "no acknowledgement within 5 s")
        return await record(fact, origin)

    async def work(event: Fact) -> Sequence[Fact]:
        return [downloaded(event)]

    await journal.record(posted(), Origin("m"))
    monkeypatch.setattr(journal, "record", refuse_at_first)
    async with run_stage(log_address, client, journal, work):
        await wait_until_settled(client)
    assert refused == 3
    assert await count_messages(client, "IMAGES", DOWNLOADED) == 1
    assert await count_messages(client, "FAILURES") == 0


async def test_a_rejection_is_a_fact_and_is_not_retried(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    calls = 0

    async def work(_event: Fact) -> Sequence[Fact]:
        nonlocal calls
        calls += 1
        raise Reject(RejectCode.TOO_LARGE, "26 MB is more than 25 MB.")

    await journal.record(posted(), Origin("m"))
    await journal.record(requested(), Origin("s"))
    async with run_stage(log_address, client, journal, work):
        await wait_until_settled(client)
        await wait_until_settled(client, "search")
    assert calls == 2
    assert await read_last_fact(client, "mapseek.image.rejected.>") == posted().to_rejection(
        "download", RejectCode.TOO_LARGE, "26 MB is more than 25 MB."
    )
    assert await count_messages(client, "SEARCHES", "mapseek.search.rejected.>") == 1
    assert await count_messages(client, "FAILURES") == 0


async def test_a_retry_that_works_leaves_no_trace(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    calls = 0

    async def work(event: Fact) -> Sequence[Fact]:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise Retry("the CDN answered 503")
        return [downloaded(event)]

    await journal.record(posted(), Origin("m"))
    async with run_stage(log_address, client, journal, work):
        await wait_until_settled(client)
    assert calls == 3
    assert await count_messages(client, "IMAGES", DOWNLOADED) == 1
    assert await count_messages(client, "FAILURES") == 0


async def test_a_message_that_keeps_failing_becomes_a_dead_letter_with_payload_and_reason(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    calls = 0

    async def work(_event: Fact) -> Sequence[Fact]:
        nonlocal calls
        calls += 1
        raise Retry("the CDN answered 503")

    await journal.record(posted(), Origin("message-10"))
    async with run_stage(log_address, client, journal, work):
        await wait_until_settled(client)
    letter = await last_dead_letter(client, "mapseek.failure.download.image.1")
    assert letter is not None
    headers, body = letter
    assert body == encode_body(posted())
    assert calls == STAGE.attempts
    assert headers["mapseek-cause"] == "exhausted"
    assert headers["mapseek-reason"] == "the CDN answered 503"
    assert headers["mapseek-subject"] == subject_of(posted())
    assert headers["mapseek-attempts"] == "3"
    assert headers["ce-correlationid"] == "message-10"


async def test_a_bug_becomes_a_dead_letter_with_its_traceback_and_other_messages_continue(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    async def work(event: Fact) -> Sequence[Fact]:
        if event == posted("1"):
            raise ZeroDivisionError("a bug\nof two lines")
        return [downloaded(event)]

    for number in range(10):
        await journal.record(posted(str(number)), Origin("m"))
    async with run_stage(log_address, client, journal, work):
        await wait_until_settled(client)
    assert await count_messages(client, "IMAGES", DOWNLOADED) == 9
    letter = await last_dead_letter(client)
    assert letter is not None
    assert letter[0]["mapseek-cause"] == "error"
    assert letter[0]["mapseek-reason"] == "a bug of two lines"
    assert "ZeroDivisionError" in letter[0]["mapseek-traceback"]
    assert await count_messages(client, "FAILURES") == 1


@pytest.mark.parametrize(
    "subject", ["mapseek.image.posted.v1.7.9", "mapseek.search.requested.v1.7.11", "mapseek.image.posted.v99.7.9"]
)
@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"[1]", orjson.dumps({"guild_id": "7"})])
async def test_a_malformed_message_becomes_a_dead_letter_at_once(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None, subject: str, body: bytes
) -> None:
    async def work(_event: Fact) -> Sequence[Fact]:
        raise AssertionError("must not be called")

    await client.jetstream().publish(subject, body)
    async with run_stage(log_address, client, journal, work):
        letter = await eventually(lambda: last_dead_letter(client))
        await wait_until_settled(client, subject.split(".")[1])
    assert letter is not None
    assert letter[0]["mapseek-cause"] == "malformed"
    assert letter[0]["mapseek-attempts"] == "1"
    assert letter[1] == body


async def test_a_message_that_kills_every_process_becomes_a_dead_letter_before_it_kills_another(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    await journal.record(posted(), Origin("m"))
    subscription = await client.jetstream().pull_subscribe_bind("download-image", stream="IMAGES")
    for _ in range(STAGE.attempts):
        [message] = await subscription.fetch(1)
        await message.nak()

    async def work(_event: Fact) -> Sequence[Fact]:
        raise AssertionError("must not be called")

    async with run_stage(log_address, client, journal, work):
        await wait_until_settled(client)
    letter = await last_dead_letter(client)
    assert letter is not None
    assert letter[0]["mapseek-cause"] == "poison"
    assert letter[0]["mapseek-attempts"] == str(STAGE.attempts + 1)


async def test_an_outage_holds_a_message_without_using_up_its_attempts(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    calls = 0
    down = True

    async def work(event: Fact) -> Sequence[Fact]:
        nonlocal calls
        calls += 1
        if down:
            raise Unavailable("catalogue", "connection refused")
        return [downloaded(event)]

    await journal.record(posted(), Origin("m"))
    async with run_stage(log_address, client, journal, work) as runtime:
        await eventually(lambda: runtime.waiting_for.get("download") == "catalogue")
        await eventually(lambda: calls > 4 * STAGE.attempts)
        down = False
        await wait_until_settled(client)
        assert runtime.waiting_for == {}
    assert await count_messages(client, "IMAGES", DOWNLOADED) == 1
    assert await count_messages(client, "FAILURES") == 0
    info = await client.jetstream().consumer_info("IMAGES", "download-image")
    assert info.delivered is not None
    assert info.delivered.consumer_seq == 1


async def test_a_stopped_process_leaves_its_held_message_to_the_next_one(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    down = True

    async def work(event: Fact) -> Sequence[Fact]:
        if down:
            raise Unavailable("catalogue", "connection refused")
        return [downloaded(event)]

    await journal.record(posted(), Origin("m"))
    async with run_stage(log_address, client, journal, work) as runtime:
        await eventually(lambda: runtime.waiting_for.get("download") == "catalogue")
    down = False
    async with run_stage(log_address, client, journal, work):
        await wait_until_settled(client)
    assert await count_messages(client, "IMAGES", DOWNLOADED) == 1


async def test_the_circuit_breaker_stops_a_stage_that_would_bury_every_message(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    broken = True

    async def work(event: Fact) -> Sequence[Fact]:
        if broken:
            raise RuntimeError("a dependency broke in a way that nobody foresaw")
        return [downloaded(event)]

    for number in range(30):
        await journal.record(posted(str(number)), Origin("m"))
    async with run_stage(log_address, client, journal, work, number=1) as runtime:
        await eventually(lambda: runtime.waiting_for.get("download") == "circuit breaker")
        buried = await count_messages(client, "FAILURES")
        assert buried == 3
        broken = False
        await wait_until_settled(client)
        await eventually(lambda: runtime.waiting_for == {})
    assert await count_messages(client, "FAILURES") == buried
    assert await count_messages(client, "IMAGES", DOWNLOADED) == 30 - buried


async def test_a_dead_letter_of_a_search_is_also_a_rejection_for_the_asker(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    async def work(_event: Fact) -> Sequence[Fact]:
        raise ZeroDivisionError

    await journal.record(requested(), Origin("interaction-11"))
    async with run_stage(log_address, client, journal, work):
        await wait_until_settled(client, "search")
    rejected = await read_last_fact(client, "mapseek.search.rejected.>")
    assert "interaction-11" in rejected.model_dump()["reason"]
    assert await count_messages(client, "FAILURES", "mapseek.failure.download.search.*") == 1


async def test_work_longer_than_the_acknowledgement_timeout_is_done_once(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "ACK_WAIT_S", 2.0)
    calls = 0
    redelivered = asyncio.Event()

    async def work(event: Fact) -> Sequence[Fact]:
        nonlocal calls
        calls += 1
        if calls > 1:
            redelivered.set()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(redelivered.wait(), 3)
        return [downloaded(event)]

    await topology.ensure_topology(client, [STAGE])
    await journal.record(posted(), Origin("m"))
    async with run_stage(log_address, client, journal, work):
        await wait_until_settled(client)
    assert calls == 1


async def test_a_search_does_not_wait_behind_the_archive_lane(
    log_address: LogAddress, client: Client, journal: JetStreamJournal, provisioned: None
) -> None:
    blocked = asyncio.Event()

    async def work(event: Fact) -> Sequence[Fact]:
        if event.family == "image":
            await blocked.wait()
        return [downloaded(event)]

    for number in range(20):
        await journal.record(posted(str(number)), Origin("m"))
    async with run_stage(log_address, client, journal, work):
        await journal.record(requested(), Origin("s"))
        await wait_until_settled(client, "search")
        assert await count_messages(client, "IMAGES", DOWNLOADED) == 0
        blocked.set()
        await wait_until_settled(client)
