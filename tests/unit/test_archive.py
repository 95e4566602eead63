"""The archive without Discord: high-water marks, deletions, forgotten members, back-fills and settings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.envelope import Origin
from contracts.errors import Retry
from contracts.events import DiscordFile, ImagePosted, Person, RemovalRequested
from contracts.ports import KnownImage
from contracts.state import Backfill, GuildSettings, update_document
from infra.discord.archive.backfill import BackfillRunner, HistoryPage
from infra.discord.archive.backfill_view import MAX_FIELD_LENGTH, clip_lines, estimate_progress, render_cells
from infra.discord.archive.changes import build_deletion_removal, list_changes
from infra.discord.archive.history import UnreadableHistory
from infra.discord.archive.intake import with_watched, without_watched
from infra.discord.archive.marks import ForgottenMembers, HighWaterMarks, RecentChanges
from infra.discord.cogs.archive import merge_settings
from infra.discord.pictures import PostedMessage, ShownPicture
from infra.discord.recorder import Recorder
from tests.support.fakes import MemoryJournal, MemoryState
from tests.support.gateway import run_recorder

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PLACE = ("1", "2")


def build_post(image_id: str, message_id: str = "3", **fields: Any) -> ImagePosted:
    return ImagePosted(
        guild_id="1",
        image_id=image_id,
        message_id=message_id,
        author=Person(id="4", name="Steve"),
        posted_at=NOW,
        filename="map.png",
        message_link="https://discord.com/channels/1/2/3",
        **{"source": DiscordFile(url="https://cdn.discordapp.com/a.png"), "channel_id": "2", **fields},
    )


def list_ids(posts: Sequence[ImagePosted]) -> list[str]:
    return [post.image_id for post in posts]


async def test_forgotten_members_stay_forgotten_after_a_restart() -> None:
    state = MemoryState()
    forgotten = ForgottenMembers(state)
    await forgotten.forget(1, 4, NOW)
    await forgotten.forget(1, 4, NOW - timedelta(days=1))
    restarted = ForgottenMembers(state)
    await restarted.load()
    for each in (forgotten, restarted):
        assert each.covers("1", "4", NOW)
        assert not each.covers(1, 4, NOW + timedelta(seconds=1))
        assert not each.covers(1, 5, NOW)
        assert not each.covers(2, 4, NOW)


def build_message(message_id: int = 3, *addresses: str, read_at: float = 0, by_person: bool = True) -> PostedMessage:
    pictures = tuple(ShownPicture(each, f"{message_id}-{each}", f"https://a.example/{each}", each) for each in addresses)
    return PostedMessage(message_id, Person(id="4", name="Steve"), by_person, edited=False, pictures=pictures, read_at=read_at)


def test_a_message_is_taken_as_it_was_last_heard_of() -> None:
    recently = RecentChanges()
    old, edited, later = (build_message(3, name, read_at=at) for at, name in enumerate("abc"))
    assert recently.choose_newest(old) == old
    recently.note_edit(edited)
    assert [recently.choose_newest(each) for each in (old, edited, later)] == [edited, edited, later]
    recently.note_message(3)
    recently.note_edit(edited)
    assert [recently.choose_newest(each) for each in (old, edited, later)] == [None, None, None]
    assert (recently.is_deleted(3), recently.is_deleted(4)) == (True, False)


def test_a_deleted_channel_covers_its_threads_but_a_deleted_message_does_not_cover_its_thread() -> None:
    recently = RecentChanges()
    recently.note_message(20)
    recently.note_channel(30)
    assert [recently.covers_channel(*place) for place in ((20, None), (31, "30"), (30, None))] == [False, True, True]


def test_only_the_latest_deletions_are_kept() -> None:
    recently = RecentChanges(kept=2)
    for message_id in (1, 2, 3):
        recently.note_message(message_id)
    assert [recently.is_deleted(each) for each in (1, 2, 3)] == [False, True, True]


def known(post: ImagePosted, **fields: Any) -> KnownImage:
    return KnownImage(post.image_id, post, **fields)


def describe_changes(
    message: PostedMessage, shown: Sequence[ImagePosted], *log: KnownImage
) -> list[tuple[str, str] | tuple[str, str, int]]:
    return [
        (fact.name, fact.target, fact.removal_id)
        if isinstance(fact, RemovalRequested)
        else (fact.name, fact.image_id)
        if isinstance(fact, ImagePosted)
        else (fact.name, fact.image_id, fact.turn)
        for fact in list_changes(message, shown, log, NOW)
    ]


def from_url(image_id: str, url: str, **fields: Any) -> ImagePosted:
    return build_post(image_id, source=DiscordFile(url=url), **fields)


A, B = from_url("3-aa", "https://e.org/a.png"), from_url("3-bb", "https://e.org/b.png")
FILE = from_url("10", "https://cdn.discordapp.com/attachments/2/10/m.png?ex=1&is=1&hm=1&")


@pytest.mark.parametrize(
    ("shown", "log", "by_person", "changes"),
    [
        ([A], [], True, [("posted", "3-aa")]),
        ([A], [known(A)], True, []),
        ([B], [known(A)], True, [("posted", "3-bb"), ("hidden", "3-aa", 1)]),
        ([], [known(A, hidden=True, turn=1)], True, []),
        ([A], [known(A, hidden=True, turn=1)], True, [("shown", "3-aa", 1)]),
        ([], [known(A, turn=1)], True, [("hidden", "3-aa", 2)]),
        ([from_url("3-aa", "https://e.org/a.png", spoiler=True)], [known(A, turn=1)], True, [("shown", "3-aa", 2)]),
        # An attachment: gone for good from a person's message, not from a bot's, and never while it is shown in another way.
        ([], [known(FILE)], True, [("requested", "10", "dropped-10")]),
        ([], [known(FILE)], False, [("hidden", "10", 1)]),
        ([from_url("3-10", "https://media.discordapp.net/attachments/2/10/m.png?ex=9")], [known(FILE)], True, []),
        # Old logs know an embed by its place, and Discord's copy of it.
        (
            [A],
            [known(from_url("3-0", "https://images-ext-1.discordapp.net/external/x-Y_1/https/e.org/a.png"))],
            True,
            [],
        ),
        ([A], [KnownImage("3-aa", None, removed=True)], True, []),
        ([A], [KnownImage("3-aa", None, removed=True, expired=True)], True, [("posted", "3-aa-2")]),
        ([A], [KnownImage("3-aa", None, removed=True, expired=True), known(from_url("3-aa-2", "https://e.org/a.png"))], True, []),
        (
            [A],
            [KnownImage(each, None, removed=True, expired=True) for each in ("3-aa", "3-aa-2")],
            True,
            [("posted", "3-aa-3")],
        ),
    ],
)
def test_the_log_comes_to_know_exactly_what_a_message_shows(
    shown: list[ImagePosted], log: list[KnownImage], by_person: bool, changes: list[Any]
) -> None:
    assert describe_changes(build_message(by_person=by_person), shown, *log) == changes


@pytest.fixture
async def marks() -> HighWaterMarks:
    return HighWaterMarks(MemoryState(), lambda: NOW)


def read_mark(marks: HighWaterMarks) -> int:
    mark = marks.get(PLACE)
    return int(mark.message_id) if mark else 0


async def test_live_posts_advance_a_mark_only_when_no_message_is_missing(marks: HighWaterMarks) -> None:
    marks.advance_history(PLACE, 5)
    marks.advance_live(PLACE, 9)
    assert read_mark(marks) == 5
    marks.advance_history(PLACE, 7)
    marks.set_complete(PLACE)
    assert read_mark(marks) == 9
    marks.advance_live(PLACE, 12)
    marks.advance_live(PLACE, 11)
    assert read_mark(marks) == 12
    marks.set_all_incomplete()
    marks.advance_live(PLACE, 20)
    assert read_mark(marks) == 12


async def test_a_mark_stays_before_a_lost_post_until_it_is_read_again(marks: HighWaterMarks) -> None:
    marks.advance_history(PLACE, 5)
    marks.set_complete(PLACE)
    marks.note_lost(build_post("10"))
    marks.advance_live(PLACE, 9)
    marks.advance_history(PLACE, 9)
    marks.set_complete(PLACE)
    assert (read_mark(marks), marks.is_complete(PLACE)) == (5, False)
    marks.start_over(PLACE)
    marks.advance_history(PLACE, 8)
    marks.set_complete(PLACE)
    assert (read_mark(marks), marks.is_complete(PLACE)) == (9, True)


async def test_marks_survive_an_outage_and_a_restart() -> None:
    state = MemoryState()
    marks = HighWaterMarks(state, lambda: NOW)
    marks.advance_history(PLACE, 5)
    marks.advance_history(("1", "3"), 6)
    state.down = True
    with suppress(Exception):
        await marks.save()
    state.down = False
    marks.drop(("1", "3"))
    await marks.save()
    restarted = HighWaterMarks(state, lambda: NOW)
    await restarted.load()
    assert (read_mark(restarted), list(restarted.of_guild("1")), restarted.newest("1"), restarted.newest("2")) == (5, ["2"], 5, 0)


def build_backfill(**fields: Any) -> Backfill:
    values = {"channel_id": "2", "sources": ("100", "200"), "since": "0", "until": "1000", "position": "0", "requested_by": "4"}
    return Backfill.model_validate({**values, "requested_at": NOW, **fields})


@pytest.mark.parametrize(
    ("fields", "fraction", "left_s"),
    [
        ({}, 0, None),
        ({"position": "550", "worked_s": 10, "messages": 40}, 0.25, 30),
        ({"done": 1, "worked_s": 10}, 0.5, 10),
        ({"done": 1, "position": "600", "worked_s": 30}, 0.75, 10),
        ({"done": 1, "position": "5000", "worked_s": 30}, 1, 0),
        ({"done": 2, "worked_s": 30}, 1, 0),
        ({"until": "50", "worked_s": 3}, 0, None),
        ({"since": "500", "position": "750", "worked_s": 3}, 0.25, 9),
    ],
)
def test_progress_is_estimated_from_the_time_span_and_the_time_worked(
    fields: dict[str, Any], fraction: float, left_s: float | None
) -> None:
    progress = estimate_progress(build_backfill(**fields))
    assert progress.fraction == pytest.approx(fraction)
    assert progress.left_s == (None if left_s is None else pytest.approx(left_s))


def test_the_progress_bar_is_full_only_at_the_end() -> None:
    assert [render_cells(fraction, 4) for fraction in (0, 0.5, 0.999, 1)] == ["▱▱▱▱", "▰▰▱▱", "▰▰▰▱", "▰▰▰▰"]


class FakeHistory:
    """The history of some channels, in pages of two messages. `channels` has the message ids; each message has one image."""

    def __init__(self, channels: dict[str, list[int]], recorder: Recorder) -> None:
        self.recorder = recorder
        self.channels = channels
        self.failures: list[Exception] = []
        self.requests: list[tuple[str, int]] = []

    async def page(self, channel_id: str, after: int, until: int) -> HistoryPage:
        self.requests.append((channel_id, after))
        if self.failures:
            raise self.failures.pop(0)
        if channel_id not in self.channels:
            raise UnreadableHistory
        found = [each for each in self.channels[channel_id] if after < each <= until][:2]
        for each in found:
            self.recorder.add(build_post(f"{channel_id}{each}", str(each)), Origin("test"))
        return HistoryPage(len(found), found[-1] if found else None, len(found), more=len(found) == 2)


@pytest.fixture
async def recording() -> AsyncIterator[tuple[Recorder, MemoryJournal]]:
    journal = MemoryJournal()
    recorder = Recorder(journal, lambda: None, first_wait_s=0.01)
    async with run_recorder(recorder):
        yield recorder, journal


async def ignore_progress(_: Backfill) -> None:
    """A progress callback that does nothing."""


async def test_a_backfill_reads_every_source_and_names_the_unreadable_ones(recording: tuple[Recorder, MemoryJournal]) -> None:
    recorder, journal = recording
    pages = FakeHistory({"100": [1, 2, 3, 1001], "300": [4]}, recorder)
    pages.failures = [Retry("Discord is slow")]
    runner = BackfillRunner(MemoryState(), pages, recorder, first_wait_s=0.01)
    done = await runner.run("key", build_backfill(sources=("100", "200", "300")), ignore_progress)
    assert list_ids([fact for fact in journal.facts if isinstance(fact, ImagePosted)]) == ["1001", "1002", "1003", "3004"]
    assert (done.state, done.messages, done.images, done.unreadable) == ("finished", 4, 4, ("200",))


async def test_a_position_is_saved_only_after_its_page_is_in_the_log(recording: tuple[Recorder, MemoryJournal]) -> None:
    recorder, journal = recording
    state = MemoryState()
    seen: list[tuple[int, int]] = []

    async def note_progress(each: Backfill) -> None:
        seen.append((each.images, len(journal.facts)))

    await BackfillRunner(state, FakeHistory({"100": [1, 2, 3, 4, 5], "200": []}, recorder), recorder).run(
        "key", build_backfill(), note_progress
    )
    assert seen == [(2, 2), (4, 4), (5, 5), (5, 5)]


async def test_a_paused_backfill_is_resumed_where_it_stopped(recording: tuple[Recorder, MemoryJournal]) -> None:
    recorder, journal = recording
    state, pages = MemoryState(), FakeHistory({"100": [1, 2, 3, 4, 5], "200": []}, recorder)

    async def pause(each: Backfill) -> None:
        await update_document(state, "key", Backfill, lambda stored: (stored or each).model_copy(update={"state": "paused"}))

    runner = BackfillRunner(state, pages, recorder)
    paused = await runner.run("key", build_backfill(), pause)
    assert (paused.state, paused.position, len(journal.facts)) == ("paused", "4", 4)
    resumed = await update_document(
        state, "key", Backfill, lambda stored: (stored or paused).model_copy(update={"state": "running"})
    )
    done = await runner.run("key", resumed, ignore_progress)
    assert (done.done, done.state) == (2, "finished")
    assert len(journal.facts) == 5


async def test_a_lost_fact_is_reported_before_later_callbacks(recording: tuple[Recorder, MemoryJournal]) -> None:
    calls: list[str] = []
    journal = MemoryJournal()
    journal.down = True
    recorder = Recorder(journal, lambda: None, on_lost_fact=lambda fact: calls.append(fact.key[1]), backlog=2)
    for image_id in ("10", "11", "12"):
        recorder.add(build_post(image_id), Origin("test"))
    recorder.add_callback(lambda: calls.append("not called: the backlog is full"))
    recorder.add_removal(build_deletion_removal("1", "3", NOW), Origin("test"))
    journal.down = False
    async with run_recorder(recorder):
        await recorder.wait_recorded()
    assert calls == ["12"]
    assert [fact.type_name() for fact in journal.facts] == ["image.posted", "image.posted", "removal.requested"]


async def test_a_lookup_runs_after_the_facts_added_before_it(recording: tuple[Recorder, MemoryJournal]) -> None:
    recorder, journal = recording
    journal.down = True

    async def find() -> list[Any]:
        return [build_deletion_removal("1", fact.message_id, NOW) for fact in journal.facts if isinstance(fact, ImagePosted)]

    recorder.add(build_post("10"), Origin("test"))
    recorder.add_lookup(find, Origin("test"))
    journal.down = False
    await recorder.wait_recorded()
    assert [fact.type_name() for fact in journal.facts] == ["image.posted", "removal.requested"]


def test_a_list_is_cut_to_the_length_of_an_embed_field() -> None:
    assert clip_lines(["a", "b"], "en") == "a\nb"
    cut = clip_lines(["x" * 200] * 30, "en")
    assert len(cut) <= MAX_FIELD_LENGTH
    assert cut.endswith("…and 25 more")


def test_only_given_settings_are_changed() -> None:
    settings = GuildSettings(locale="de", watched=("1",))
    changed = merge_settings(settings, {"locale": None, "searches_per_member": 5, "private_answers": False})
    assert changed == GuildSettings(locale="de", watched=("1",), searches_per_member=5, private_answers=False)
    assert merge_settings(settings, {"locale": "en"}).locale == "en-US"
    assert merge_settings(settings, {"locale": "auto"}).locale is None


def test_a_channel_is_in_the_watched_list_once() -> None:
    settings = with_watched(with_watched(with_watched(GuildSettings(), 1), 2), 1)
    assert settings.watched == ("1", "2")
    assert without_watched(settings, 1).watched == ("2",)
    assert without_watched(settings, 3) == settings
