"""What the archive knows without Discord: marks, removals, what was forgotten, and how a back-fill goes on."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.envelope import Origin
from contracts.errors import Retry
from contracts.events import DiscordFile, ImagePosted, Person
from contracts.state import Backfill, GuildSettings, amend
from infra.discord.archive.backfill import Backfilling, Page
from infra.discord.archive.backfill_view import LONGEST_FIELD, bar, clipped, progress_of
from infra.discord.archive.history import Unreadable
from infra.discord.archive.intake import with_watched, without_watched
from infra.discord.archive.marks import Forgetting, Marks, Recently
from infra.discord.archive.removal_facts import deletion, reduction
from infra.discord.cogs.archive import changed_settings
from infra.discord.recorder import Recorder
from tests.support.fakes import MemoryJournal, MemoryState
from tests.support.gateway import recording

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PLACE = ("1", "2")


def posted(image_id: str, message_id: str = "3", **fields: Any) -> ImagePosted:
    return ImagePosted(
        guild_id="1",
        image_id=image_id,
        message_id=message_id,
        author=Person(id="4", name="Steve"),
        posted_at=NOW,
        filename="map.png",
        message_link="https://discord.com/channels/1/2/3",
        source=DiscordFile(url="https://cdn.discordapp.com/a.png"),
        **{"channel_id": "2", **fields},
    )


def ids(posts: Sequence[ImagePosted]) -> list[str]:
    return [post.image_id for post in posts]


async def test_what_is_forgotten_stays_so_after_a_restart() -> None:
    state = MemoryState()
    forgetting = Forgetting(state)
    await forgetting.forget(1, 4, NOW)
    await forgetting.forget(1, 4, NOW - timedelta(days=1))
    later = Forgetting(state)
    await later.load()
    for each in (forgetting, later):
        assert each.covers("1", "4", NOW)
        assert not each.covers(1, 4, NOW + timedelta(seconds=1))
        assert not each.covers(1, 5, NOW)
        assert not each.covers(2, 4, NOW)


def test_what_was_deleted_meanwhile_is_not_there() -> None:
    recently = Recently()
    posts = [posted("10"), posted("11", "6"), posted("12", "7"), posted("13", "7"), posted("7-0", "7")]
    recently.deleted(6)
    recently.edited(7, ["12"])
    assert ids(recently.still_there(posts)) == ["10", "12", "7-0"]


def test_a_deleted_channel_takes_its_threads_along_but_a_deleted_message_not_the_thread_that_it_began() -> None:
    recently = Recently()
    recently.deleted(20)
    recently.channel_deleted(30)
    in_thread = [posted("10", channel_id="20"), posted("11", channel_id="31", thread_of="30"), posted("12", channel_id="30")]
    assert ids(recently.still_there(in_thread)) == ["10"]


def test_only_the_latest_deletions_are_kept() -> None:
    recently = Recently(kept=2)
    for message_id in (1, 2, 3):
        recently.deleted(message_id)
    assert ids(recently.still_there([posted(str(number), str(number)) for number in (1, 2, 3)])) == ["1"]


def test_an_edit_removes_what_it_dropped_and_never_an_embed() -> None:
    known = [posted("10"), posted("11"), posted("3-0")]
    (removal,) = reduction(known, {"11"}, NOW)
    assert (removal.scope, removal.target, removal.keep) == ("message", "3", ("11", "3-0"))
    assert reduction(known, {"10", "11"}, NOW) == []
    assert reduction([], set(), NOW) == []
    assert reduction(known, {"10"}, NOW)[0].removal_id != removal.removal_id


def test_a_deletion_of_what_is_not_known_is_no_fact() -> None:
    assert deletion([], NOW) == []
    assert [removal.removal_id for removal in deletion([posted("10")], NOW)] == ["deleted-3"]


@pytest.fixture
async def marks() -> Marks:
    return Marks(MemoryState(), lambda: NOW)


def at(marks: Marks) -> int:
    mark = marks.of(PLACE)
    return int(mark.message_id) if mark else 0


async def test_a_mark_waits_until_nothing_is_missing(marks: Marks) -> None:
    marks.read(PLACE, 5)
    marks.heard(PLACE, 9)
    assert at(marks) == 5
    marks.read(PLACE, 7)
    marks.open(PLACE)
    assert at(marks) == 9
    marks.heard(PLACE, 12)
    marks.heard(PLACE, 11)
    assert at(marks) == 12
    marks.close_all()
    marks.heard(PLACE, 20)
    assert at(marks) == 12


async def test_a_lost_post_holds_the_mark_until_it_is_read_again(marks: Marks) -> None:
    marks.read(PLACE, 5)
    marks.open(PLACE)
    marks.lose(posted("10"))
    marks.heard(PLACE, 9)
    marks.read(PLACE, 9)
    marks.open(PLACE)
    assert (at(marks), marks.is_open(PLACE)) == (5, False)
    marks.start_over(PLACE)
    marks.read(PLACE, 8)
    marks.open(PLACE)
    assert (at(marks), marks.is_open(PLACE)) == (9, True)


async def test_marks_outlive_an_outage_and_a_restart() -> None:
    state = MemoryState()
    marks = Marks(state, lambda: NOW)
    marks.read(PLACE, 5)
    marks.read(("1", "3"), 6)
    state.down = True
    with suppress(Exception):
        await marks.save()
    state.down = False
    marks.drop(("1", "3"))
    await marks.save()
    later = Marks(state, lambda: NOW)
    await later.load()
    assert (at(later), list(later.of_guild("1")), later.newest("1"), later.newest("2")) == (5, ["2"], 5, 0)


def backfill(**fields: Any) -> Backfill:
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
def test_progress_is_told_by_time(fields: dict[str, Any], fraction: float, left_s: float | None) -> None:
    progress = progress_of(backfill(**fields))
    assert progress.fraction == pytest.approx(fraction)
    assert progress.left_s == (None if left_s is None else pytest.approx(left_s))


def test_a_bar_is_full_only_at_the_end() -> None:
    assert [bar(fraction, 4) for fraction in (0, 0.5, 0.999, 1)] == ["▱▱▱▱", "▰▰▱▱", "▰▰▰▱", "▰▰▰▰"]


class Pages:
    """Channels with messages by id, each with one image; pages of two."""

    def __init__(self, channels: dict[str, list[int]]) -> None:
        self.channels = channels
        self.failures: list[Exception] = []
        self.asked: list[tuple[str, int]] = []

    async def page(self, channel_id: str, after: int, until: int) -> Page:
        self.asked.append((channel_id, after))
        if self.failures:
            raise self.failures.pop(0)
        if channel_id not in self.channels:
            raise Unreadable
        found = [each for each in self.channels[channel_id] if after < each <= until][:2]
        posts = [posted(f"{channel_id}{each}", str(each)) for each in found]
        return Page(len(found), found[-1] if found else None, posts, more=len(found) == 2)


@pytest.fixture
async def recorded() -> AsyncIterator[tuple[Recorder, MemoryJournal]]:
    journal = MemoryJournal()
    recorder = Recorder(journal, lambda: None, first_wait=0.01)
    async with recording(recorder):
        yield recorder, journal


async def unseen(_: Backfill) -> None:
    """Nobody looks."""


async def test_a_backfill_reads_every_source_and_names_what_it_may_not_read(recorded: tuple[Recorder, MemoryJournal]) -> None:
    recorder, journal = recorded
    pages = Pages({"100": [1, 2, 3, 1001], "300": [4]})
    pages.failures = [Retry("Discord is slow")]
    work = Backfilling(MemoryState(), pages, recorder, first_wait=0.01)
    done = await work.run("key", backfill(sources=("100", "200", "300")), unseen)
    assert ids([fact for fact in journal.facts if isinstance(fact, ImagePosted)]) == ["1001", "1002", "1003", "3004"]
    assert (done.state, done.messages, done.images, done.unreadable) == ("finished", 4, 4, ("200",))


async def test_a_position_is_saved_only_when_its_page_is_in_the_log(recorded: tuple[Recorder, MemoryJournal]) -> None:
    recorder, journal = recorded
    state = MemoryState()
    seen: list[tuple[int, int]] = []

    async def shown(each: Backfill) -> None:
        seen.append((each.images, len(journal.facts)))

    await Backfilling(state, Pages({"100": [1, 2, 3, 4, 5], "200": []}), recorder).run("key", backfill(), shown)
    assert seen == [(2, 2), (4, 4), (5, 5), (5, 5)]


async def test_a_backfill_stops_where_it_was_paused_and_goes_on_there(recorded: tuple[Recorder, MemoryJournal]) -> None:
    recorder, journal = recorded
    state, pages = MemoryState(), Pages({"100": [1, 2, 3, 4, 5], "200": []})

    async def pausing(each: Backfill) -> None:
        await amend(state, "key", Backfill, lambda stored: (stored or each).model_copy(update={"state": "paused"}))

    work = Backfilling(state, pages, recorder)
    paused = await work.run("key", backfill(), pausing)
    assert (paused.state, paused.position, len(journal.facts)) == ("paused", "4", 4)
    resumed = await amend(state, "key", Backfill, lambda stored: (stored or paused).model_copy(update={"state": "running"}))
    done = await work.run("key", resumed, unseen)
    assert (done.done, done.state) == (2, "finished")
    assert len(journal.facts) == 5


async def test_a_loss_is_named_before_any_later_call(recorded: tuple[Recorder, MemoryJournal]) -> None:
    told: list[str] = []
    journal = MemoryJournal()
    journal.down = True
    recorder = Recorder(journal, lambda: None, on_lost_fact=lambda fact: told.append(fact.key[1]), backlog=2)
    for image_id in ("10", "11", "12"):
        recorder.add(posted(image_id), Origin("test"))
    recorder.then(lambda: told.append("never: there is no room"))
    recorder.add_removal(deletion([posted("10")], NOW)[0], Origin("test"))
    journal.down = False
    async with recording(recorder):
        await recorder.settled()
    assert told == ["12"]
    assert [fact.type_name() for fact in journal.facts] == ["image.posted", "image.posted", "removal.requested"]


async def test_what_is_found_is_looked_for_behind_what_was_added(recorded: tuple[Recorder, MemoryJournal]) -> None:
    recorder, journal = recorded
    journal.down = True

    async def find() -> list[Any]:
        return deletion([fact for fact in journal.facts if isinstance(fact, ImagePosted)], NOW)

    recorder.add(posted("10"), Origin("test"))
    recorder.add_found(find, Origin("test"))
    journal.down = False
    await recorder.settled()
    assert [fact.type_name() for fact in journal.facts] == ["image.posted", "removal.requested"]


def test_a_list_is_cut_to_what_an_embed_takes() -> None:
    assert clipped(["a", "b"], "en") == "a\nb"
    cut = clipped(["x" * 200] * 30, "en")
    assert len(cut) <= LONGEST_FIELD
    assert cut.endswith("…and 25 more")


def test_settings_change_where_something_was_chosen() -> None:
    settings = GuildSettings(locale="de", watched=("1",))
    changed = changed_settings(settings, {"locale": None, "searches_per_member": 5, "private_answers": False})
    assert changed == GuildSettings(locale="de", watched=("1",), searches_per_member=5, private_answers=False)
    assert changed_settings(settings, {"locale": "en"}).locale == "en-US"
    assert changed_settings(settings, {"locale": "auto"}).locale is None


def test_a_place_is_watched_once() -> None:
    settings = with_watched(with_watched(with_watched(GuildSettings(), 1), 2), 1)
    assert settings.watched == ("1", "2")
    assert without_watched(settings, 1).watched == ("2",)
    assert without_watched(settings, 3) == settings
