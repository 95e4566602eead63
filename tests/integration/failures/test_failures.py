"""Dead letters on a real nats-server: their incidents, listing them and discarding them."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from contracts.envelope import Origin
from contracts.errors import MapSeekError, Retry, Unavailable
from contracts.events import AttemptFailed, Incident, MessageBuried, MessageDiscarded
from contracts.events.base import Fact
from contracts.subjects import RETRIES, retry_filter
from infra.nats.connection import LogAddress
from infra.nats.erasure import LogErasure
from infra.nats.journal import JetStreamJournal
from pipeline.failures.letters import discard_letter, find_letter, list_letters, list_stages_without_worker, retry_letter
from pipeline.failures.render import render_letter, render_letters
from tests.support.bench_stage import count_messages, downloaded, last_dead_letter, run_stage
from tests.support.facts import posted, requested
from tests.support.failing import FailingStage
from tests.support.programs import freeze, thaw
from tests.support.waiting import eventually


async def test_every_failed_attempt_and_the_burial_are_recorded(bench: FailingStage) -> None:
    await bench.journal.record(posted(), Origin("message-10"))
    async with bench.working():
        await bench.wait_for_letters()
        found = await eventually(lambda: _wait_for_incidents(bench, 3))
    assert [(type(fact), fact.attempt, fact.round) for fact in found] == [
        (AttemptFailed, 1, 0),
        (AttemptFailed, 2, 0),
        (MessageBuried, 3, 0),
    ]
    for fact in found:
        assert (fact.guild_id, fact.entity_id, fact.lane, fact.stage) == ("7", "9", "image", "download")
        assert (fact.consumer, fact.sequence, fact.process) == ("download-image", 1, "test")
        assert fact.model_dump()["reason"] == "the CDN answered 503"


async def _wait_for_incidents(bench: FailingStage, number: int) -> list[Incident]:
    found = await bench.incidents()
    return found if len(found) >= number else []


async def test_a_retry_with_a_named_delay_is_no_incident(bench: FailingStage, log_address: LogAddress) -> None:
    asked = 0

    async def work(event: Fact) -> Sequence[Fact]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise Retry("rate limited", after=0.01)
        return [downloaded(event)]

    await bench.journal.record(posted(), Origin("m"))
    async with run_stage(log_address, bench.client, bench.journal, work):
        await eventually(bench.recorded)
    assert await bench.incidents() == []


async def test_a_reason_with_any_characters_is_kept_found_shown_escaped_and_put_back(
    bench: FailingStage, log_address: LogAddress
) -> None:
    async def fail(_: Fact) -> Sequence[Fact]:
        raise Retry("café 地図\x1b[31m\u202e\udcff\nwas refused")

    await bench.journal.record(posted(), Origin("m"))
    async with run_stage(log_address, bench.client, bench.journal, fail):
        (listed,) = await bench.wait_for_letters()
    letter = await find_letter(bench.client, listed.id)
    assert letter.reason == listed.reason == "café 地図\x1b[31m\u202e\\xff was refused"
    incidents = [fact for fact in await bench.incidents() if isinstance(fact, MessageBuried)]
    assert [fact.reason for fact in incidents] == [letter.reason]
    for page in (render_letter(letter), render_letters([letter])):
        shown = StringIO()
        Console(file=shown, width=300).print(page)
        assert r"café 地図\x1b[31m\u202e\xff was refused" in shown.getvalue()
        assert [line for line in shown.getvalue().splitlines() if not line.isprintable()] == []
    bench.broken = False
    await bench.put_back(letter)
    async with bench.working():
        await eventually(bench.recorded)


async def test_dead_letters_are_filtered_by_their_headers(bench: FailingStage) -> None:
    for number in range(3):
        await bench.journal.record(posted(str(number), guild_id=str(number)), Origin("m"))
    await bench.journal.record(requested(), Origin("s"))
    async with bench.working():
        await bench.wait_for_letters(4)
    assert len(await list_letters(bench.client, stage="download")) == 4
    assert await list_letters(bench.client, stage="embed") == []
    assert len(await list_letters(bench.client, reason="answered 503")) == 4
    assert await list_letters(bench.client, reason="answered 404") == []
    assert [letter.about for letter in await list_letters(bench.client, guild="2")] == [("2", "2")]
    assert {letter.id for letter in await list_letters(bench.client, guild="7")} == {"download/search/1"}
    for unknown in ("download/image/99", "download/image/1/g2", "nonsense", "", "a/*/1", "a/b/c/d/e", "download/image/ 1"):
        with pytest.raises(MapSeekError, match=r"There is no dead letter .*mapseek failures list"):
            await find_letter(bench.client, unknown)


async def test_a_discarded_dead_letter_leaves_only_its_incident(bench: FailingStage, tmp_path: Path) -> None:
    await bench.journal.record(posted(), Origin("m"))
    async with bench.working():
        [letter] = await bench.wait_for_letters()
    for _ in range(2):
        await discard_letter(letter, bench.journal, bench.erasure)
    assert await list_letters(bench.client) == []
    assert [type(fact) for fact in await bench.incidents()][-1] == MessageDiscarded
    blocks = (tmp_path / "nats-server").rglob("streams/FAILURES/msgs/*.blk")
    assert all(b"dragon.png" not in block.read_bytes() for block in blocks)


async def test_stages_without_a_worker_are_listed(bench: FailingStage) -> None:
    assert await list_stages_without_worker(bench.client, ["download", "download"]) == ["download"]
    async with bench.working():
        await eventually(lambda: _has_worker(bench))


async def _has_worker(bench: FailingStage) -> bool:
    return await list_stages_without_worker(bench.client, ["download"]) == []


async def test_a_server_that_is_down_is_unavailable(bench: FailingStage, tmp_path: Path) -> None:
    await bench.journal.record(posted(), Origin("m"))
    async with bench.working():
        [letter] = await bench.wait_for_letters()
    pid = int((tmp_path / "nats-server" / "server.pid").read_text())
    journal = JetStreamJournal(bench.client, source="test", now=bench.journal._now, timeout=0.3)
    freeze(pid)
    try:
        with pytest.raises(Unavailable):
            await retry_letter(letter, journal, LogErasure(bench.client, timeout=0.3))
    finally:
        thaw(pid)
    assert await last_dead_letter(bench.client) is not None
    assert await count_messages(bench.client, RETRIES, retry_filter("download")) == 0
