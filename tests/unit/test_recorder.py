"""The gateway's recorder: facts wait in a backlog while the log is unavailable, and every lost fact is counted."""

from datetime import UTC, datetime

from structlog.testing import capture_logs

from contracts.envelope import Origin
from contracts.events import DiscordFile, Fact, ImagePosted, Person
from infra.discord.recorder import Recorder
from tests.support.fakes import MemoryJournal
from tests.support.gateway import run_recorder
from tests.support.waiting import eventually


def build_post(image_id: int) -> ImagePosted:
    return ImagePosted(
        guild_id="1",
        channel_id="2",
        image_id=str(image_id),
        message_id="3",
        author=Person(id="4", name="Steve"),
        posted_at=datetime(2026, 1, 1, tzinfo=UTC),
        filename="map.png",
        message_link="https://discord.com/channels/1/2/3",
        source=DiscordFile(url="https://cdn.discordapp.com/a.png"),
    )


class LossCounter:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def add(recorder: Recorder, *image_ids: int) -> None:
    for image_id in image_ids:
        recorder.add(build_post(image_id), Origin(f"message-{image_id}"))


def list_image_ids(journal: MemoryJournal) -> list[str]:
    return [fact.key[1] for fact in journal.facts]


async def test_an_outage_of_the_log_loses_nothing_and_logs_one_warning() -> None:
    journal, lost = MemoryJournal(), LossCounter()
    recorder = Recorder(journal, lost, first_wait_s=0.01)
    journal.down = True
    with capture_logs() as lines:
        async with run_recorder(recorder):
            add(recorder, 1, 2, 3)
            await eventually(lambda: journal.attempts >= 3)
            assert journal.facts == []
            journal.down = False
            await recorder.flush(timeout=5)
    assert list_image_ids(journal) == ["1", "2", "3"]
    assert [origin.correlation_id for _, origin in journal.recorded.values()] == ["message-1", "message-2", "message-3"]
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["recorder_waiting"]
    assert lost.count == 0


async def test_facts_beyond_the_backlog_are_counted_as_lost() -> None:
    journal, lost = MemoryJournal(), LossCounter()
    recorder = Recorder(journal, lost, backlog=2)
    with capture_logs() as lines:
        add(recorder, 1, 2, 3)
    assert (lost.count, [line["log_level"] for line in lines]) == (1, ["error"])
    async with run_recorder(recorder):
        await recorder.flush(timeout=5)
    assert list_image_ids(journal) == ["1", "2"]


async def test_facts_that_still_wait_at_the_end_are_counted_as_lost() -> None:
    journal, lost = MemoryJournal(), LossCounter()
    recorder = Recorder(journal, lost, first_wait_s=0.01)
    journal.down = True
    async with run_recorder(recorder):
        add(recorder, 1, 2, 3)
        await eventually(lambda: journal.attempts)
        await recorder.flush(timeout=0.05)
    assert lost.count == 3


async def test_an_error_with_one_fact_does_not_stop_the_next() -> None:
    class Faulty(MemoryJournal):
        async def record(self, fact: Fact, origin: Origin) -> bool:
            if fact.key[1] == "1":
                raise ZeroDivisionError
            return await super().record(fact, origin)

    journal, lost = Faulty(), LossCounter()
    recorder = Recorder(journal, lost)
    async with run_recorder(recorder):
        add(recorder, 1, 2)
        await recorder.flush(timeout=5)
    assert (list_image_ids(journal), lost.count) == (["2"], 1)
