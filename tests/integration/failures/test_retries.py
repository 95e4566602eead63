"""Retrying dead letters on a real nats-server: the stage gets the same message again, and nothing is lost."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from contracts.envelope import Origin
from contracts.errors import Retry
from contracts.events import AttemptFailed, MessageBuried, MessageDiscarded, MessageRequeued
from contracts.events.base import Fact
from contracts.subjects import FAILURES, RETRIES, failure_subject, retry_subject
from infra.nats.erasure import LogErasure
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import encode_body
from pipeline.engine import worker
from pipeline.engine.job import Job, Runtime
from pipeline.engine.metrics import Metrics
from pipeline.failures.letters import find_letter, list_letters, retry_letter
from tests.support.bench_stage import BENCH_POLICY, STAGE, Deps, count_messages, downloaded
from tests.support.facts import posted
from tests.support.failing import DOWNLOADED, FailingStage
from tests.support.waiting import eventually


async def test_a_retried_message_is_handled_as_the_first_time(bench: FailingStage) -> None:
    await bench.journal.record(posted(), Origin("message-10"))
    async with bench.working():
        [letter] = await bench.wait_for_letters()
        assert letter.id == "download/image/1"
        assert letter.headers["mapseek-consumer"] == "download-image"
        assert (letter.headers["mapseek-family"], letter.headers["mapseek-round"]) == ("image", "0")
        bench.broken = False
        await bench.put_back(letter)
        await eventually(bench.recorded)
        await eventually(bench.has_no_retries)
    assert await list_letters(bench.client) == []
    message = await bench.client.jetstream().get_last_msg("IMAGES", DOWNLOADED)
    assert message.headers is not None
    assert message.headers["ce-correlationid"] == "message-10"
    assert message.headers["ce-causationid"] == "mapseek.image.posted.v1.7.9.10"
    assert [type(fact) for fact in await bench.incidents()] == [AttemptFailed, AttemptFailed, MessageBuried, MessageRequeued]


async def test_a_retried_message_that_fails_again_is_buried_again(bench: FailingStage) -> None:
    """The new dead letter may exist before the old one is deleted. Deleting the old one must not delete the new one too."""
    await bench.journal.record(posted(), Origin("m"))
    async with bench.working():
        for number in range(5):
            [letter] = await bench.wait_for_letters()
            assert letter.delivery.round == number
            await bench.put_back(letter)
            await eventually(lambda number=number: _round(bench, number + 1))
            await eventually(bench.has_no_retries)
    assert await count_messages(bench.client, FAILURES) == 1
    found = await bench.incidents()
    assert [(fact.round, fact.attempt) for fact in found if isinstance(fact, MessageBuried)] == [(each, 3) for each in range(6)]


async def _round(bench: FailingStage, number: int) -> bool:
    return [letter.delivery.round for letter in await list_letters(bench.client)] == [number]


async def test_retries_that_fail_again_do_not_open_the_circuit_breaker(bench: FailingStage) -> None:
    """How many messages are retried depends on a person, and says nothing about the stage's other messages."""
    await bench.journal.record(posted("0"), Origin("m"))
    await bench.journal.record(posted("1"), Origin("m"))
    async with bench.working():
        await bench.wait_for_letters(2)
        for _ in range(4):
            for letter in await list_letters(bench.client):
                await bench.put_back(letter)
            await eventually(bench.has_no_retries)
    assert [letter.delivery.round for letter in await list_letters(bench.client)] == [4, 4]


class Killed(Exception):
    """Raised where the process is killed."""


@pytest.mark.parametrize("cut", ["record", "publish_once", "erase_entry"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("mended", [False, True])
async def test_a_process_that_is_killed_during_a_retry_loses_nothing(
    bench: FailingStage, monkeypatch: pytest.MonkeyPatch, cut: str, after: bool, mended: bool
) -> None:
    await bench.journal.record(posted(), Origin("m"))
    async with bench.working():
        [letter] = await bench.wait_for_letters()
        bench.broken = not mended
        erasure, journal = LogErasure(bench.client), JetStreamJournal(bench.client, source="test", now=bench.journal._now)
        target: Any = erasure if cut == "erase_entry" else journal
        real: Callable[..., Any] = getattr(target, cut)

        async def killed(*args: Any, **more: Any) -> None:
            if after:
                await real(*args, **more)
            raise Killed

        monkeypatch.setattr(target, cut, killed)
        with pytest.raises(Killed):
            await retry_letter(letter, journal, erasure)
        await eventually(bench.has_no_retries)
        if not await bench.recorded():
            [again] = await bench.wait_for_letters()
            await bench.put_back(again)
            await eventually(bench.has_no_retries)
        if mended:
            await eventually(bench.recorded)
            # The letter may still be there although the work is done. Retrying it again must do no harm.
            for left in await list_letters(bench.client):
                await bench.put_back(left)
            await eventually(bench.has_no_retries)
            assert await list_letters(bench.client) == []
        else:
            assert len(await bench.wait_for_letters()) == 1
    assert await count_messages(bench.client, "IMAGES", DOWNLOADED) == int(mended)


async def test_retrying_a_letter_twice_is_harmless(bench: FailingStage) -> None:
    await bench.journal.record(posted(), Origin("m"))
    async with bench.working():
        [letter] = await bench.wait_for_letters()
    await bench.put_back(letter)
    await bench.put_back(letter)
    assert await count_messages(bench.client, RETRIES) == 1
    bench.broken = False
    async with bench.working():
        await eventually(bench.has_no_retries)
    assert await bench.recorded()
    assert await list_letters(bench.client) == []


async def test_a_retried_message_that_kills_its_process_again_becomes_a_dead_letter(bench: FailingStage) -> None:
    await bench.journal.record(posted(), Origin("m"))
    async with bench.working():
        [letter] = await bench.wait_for_letters()
    await bench.put_back(letter)
    subscription = await bench.client.jetstream().pull_subscribe_bind("download-retry", stream=RETRIES)
    for _ in range(STAGE.attempts):
        [message] = await subscription.fetch(1)
        await message.nak()
    calls = bench.calls
    async with bench.working():
        [again] = await bench.wait_for_letters()
    assert bench.calls == calls
    assert (again.headers["mapseek-cause"], again.delivery.round) == ("poison", 1)
    assert "mapseek-traceback" not in again.headers


async def test_a_retry_for_a_dropped_generation_is_discarded_and_recorded(bench: FailingStage) -> None:
    headers = {
        "mapseek-stage": "download",
        "mapseek-family": "image",
        "mapseek-consumer": "download-image",
        "mapseek-generation": "dropped",
        "mapseek-subject": "mapseek.image.posted.v1.7.9.10",
        "mapseek-stream": "IMAGES",
        "mapseek-sequence": "1",
        "mapseek-attempts": "3",
        "mapseek-round": "0",
    }
    subject = failure_subject("download", "image", 1, "dropped")
    await bench.journal.publish_once(subject, encode_body(posted()), headers, FAILURES)
    await bench.put_back(await find_letter(bench.client, "download/image/1/dropped"))
    assert await count_messages(bench.client, RETRIES, retry_subject("download", "image", 1, "dropped")) == 1
    async with bench.working():
        await eventually(bench.has_no_retries)
    assert [(type(fact), fact.generation) for fact in await bench.incidents()] == [
        (MessageRequeued, "dropped"),
        (MessageDiscarded, "dropped"),
    ]
    assert await list_letters(bench.client) == []


async def test_waiting_for_a_process_with_the_model_is_not_an_attempt(bench: FailingStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "NOT_LOADED_DELAY_S", 0.01)
    headers = {
        "mapseek-stage": "download",
        "mapseek-family": "image",
        "mapseek-consumer": "download-image",
        "mapseek-subject": "mapseek.image.posted.v1.7.9.10",
        "mapseek-stream": "IMAGES",
        "mapseek-sequence": "1",
        "mapseek-attempts": "3",
        "mapseek-round": "0",
    }
    subject = failure_subject("download", "image", 1, "late")
    await bench.journal.publish_once(subject, encode_body(posted("9")), headers, FAILURES)
    await bench.put_back(await find_letter(bench.client, "download/image/1/late"))
    runtime = Runtime(bench.journal, Metrics(), BENCH_POLICY)

    async def work(event: Fact) -> Sequence[Fact]:
        bench.calls += 1
        if bench.calls == 1:
            raise Retry("the CDN answered 503")
        return [downloaded(event)]

    job = Job(STAGE, "image", Deps(work), "late")
    offered = await bench.client.jetstream().pull_subscribe_bind("download-retry", stream=RETRIES)
    turns: list[list[Job]] = [[]] * STAGE.attempts + [[job]] + [[]] * STAGE.attempts + [[job]]
    for jobs in turns:
        [message] = await offered.fetch(1)
        await worker.process_retry(message, jobs, lambda _: False, runtime)
    assert bench.calls == 2
    assert await bench.recorded()
    await eventually(bench.has_no_retries)
    assert [(type(fact), fact.attempt) for fact in await bench.incidents()] == [(MessageRequeued, 3), (AttemptFailed, 1)]


async def test_a_retried_message_of_a_replay_is_still_marked_as_replayed(bench: FailingStage) -> None:
    await bench.journal.record(posted(), Origin("m", replayed=True))
    async with bench.working():
        [letter] = await bench.wait_for_letters()
        bench.broken = False
        await bench.put_back(letter)
        await eventually(bench.recorded)
    message = await bench.client.jetstream().get_last_msg("IMAGES", DOWNLOADED)
    assert "mapseek-replayed" in (message.headers or {})
