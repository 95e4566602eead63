from datetime import UTC, datetime

from structlog.testing import capture_logs

from contracts.envelope import Origin
from contracts.events import DiscordFile, Fact, ImagePosted, Person
from infra.discord.recorder import Recorder
from tests.support.fakes import MemoryJournal
from tests.support.gateway import run_recorder
from tests.support.waiting import eventually


def posted(image_id: int) -> ImagePosted:
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


class Lost:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def add(recorder: Recorder, *image_ids: int) -> None:
    for image_id in image_ids:
        recorder.add(posted(image_id), Origin(f"message-{image_id}"))


def image_ids(journal: MemoryJournal) -> list[str]:
    return [fact.key[1] for fact in journal.facts]


async def test_an_outage_of_the_log_loses_nothing_and_warns_once() -> None:
    journal, lost = MemoryJournal(), Lost()
    recorder = Recorder(journal, lost, first_wait_s=0.01)
    journal.down = True
    with capture_logs() as lines:
        async with run_recorder(recorder):
            add(recorder, 1, 2, 3)
            await eventually(lambda: journal.attempts >= 3)
            assert journal.facts == []
            journal.down = False
            await recorder.flush(timeout=5)
    assert image_ids(journal) == ["1", "2", "3"]
    assert [origin.correlation_id for _, origin in journal.recorded.values()] == ["message-1", "message-2", "message-3"]
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["recorder_waiting"]
    assert lost.count == 0


async def test_the_backlog_is_bounded_and_what_does_not_fit_is_counted() -> None:
    journal, lost = MemoryJournal(), Lost()
    recorder = Recorder(journal, lost, backlog=2)
    with capture_logs() as lines:
        add(recorder, 1, 2, 3)
    assert (lost.count, [line["log_level"] for line in lines]) == (1, ["error"])
    async with run_recorder(recorder):
        await recorder.flush(timeout=5)
    assert image_ids(journal) == ["1", "2"]


async def test_what_still_waits_at_the_end_is_counted_as_lost() -> None:
    journal, lost = MemoryJournal(), Lost()
    recorder = Recorder(journal, lost, first_wait_s=0.01)
    journal.down = True
    async with run_recorder(recorder):
        add(recorder, 1, 2, 3)
        await eventually(lambda: journal.attempts)
        await recorder.flush(timeout=0.05)
    assert lost.count == 3


async def test_a_fault_with_one_image_does_not_stop_the_next() -> None:
    class Faulty(MemoryJournal):
        async def record(self, fact: Fact, origin: Origin) -> bool:
            if fact.key[1] == "1":
                raise ZeroDivisionError
            return await super().record(fact, origin)

    journal, lost = Faulty(), Lost()
    recorder = Recorder(journal, lost)
    async with run_recorder(recorder):
        add(recorder, 1, 2)
        await recorder.flush(timeout=5)
    assert (image_ids(journal), lost.count) == (["2"], 1)
