"""The stage notify: when it sends notices, and above all when it does not."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import pytest

from contracts.envelope import Origin
from contracts.errors import Retry
from contracts.events import AlertCancelled, AlertDelivered, AlertSet, AlertTriggered, ImageReposted, Person
from contracts.ports import Notice
from contracts.state import GuildSettings
from contracts.subjects import settings_key
from stages import notify
from tests.support.facts import ALERT, ALEX, MOMENT, example_facts
from tests.support.fakes import MemoryAlerts, MemoryCatalogue, MemoryJournal, MemoryState

ORIGIN = Origin("test")
TRIGGERED = AlertTriggered(**ALERT, image_id="9", score=0.97, channel_id="8", locale="de", age_restricted=True)
REPOSTED = ImageReposted(guild_id="7", channel_id="8", image_id="9", generation="g1", same_as="3", score=0.98)
HIDDEN = {"visibility": {"turn": 1, "hidden": True, "spoiler": False}}
SET = next(fact for fact in example_facts() if isinstance(fact, AlertSet))


@dataclass
class MemoryNotices:
    """A Notifier that keeps all notices. The test sets who may read which channel."""

    readers: set[tuple[str, str]] = field(default_factory=set)
    asked: list[bool] = field(default_factory=list)
    marked: list[tuple[Notice, str]] = field(default_factory=list)
    told: list[tuple[Notice, Person, str, str]] = field(default_factory=list)
    outcome: Literal["direct", "mention", "undeliverable"] = "direct"

    async def may_read(self, guild_id: str, channel_id: str, person_id: str, *, age_restricted: bool) -> bool:
        self.asked.append(age_restricted)
        return (channel_id, person_id) in self.readers

    async def mark_repost(self, notice: Notice, style: Literal["reaction", "reply"]) -> None:
        self.marked.append((notice, style))

    async def notify_person(
        self, notice: Notice, person: Person, channel_id: str, alert_id: str
    ) -> Literal["direct", "mention", "undeliverable"]:
        self.told.append((notice, person, channel_id, alert_id))
        return self.outcome


@dataclass
class World:
    deps: notify.Deps
    notices: MemoryNotices
    state: MemoryState
    catalogue: MemoryCatalogue
    journal: MemoryJournal

    async def want(self, **settings: Any) -> None:
        await self.state.put(settings_key("7"), GuildSettings(**settings).model_dump_json().encode())

    async def post(self, image_id: str, channel_id: str, thread_of: str | None = None, age: timedelta = timedelta()) -> None:
        metadata = {"channel_id": channel_id, "thread_of": thread_of, "upload_timestamp": (MOMENT - age).isoformat()}
        await self.catalogue.merge(image_id, {"discord_message_id": f"m{image_id}", "message_link": "l", "metadata": metadata})


@pytest.fixture
def world() -> World:
    notices, state, catalogue, journal = MemoryNotices(), MemoryState(), MemoryCatalogue(), MemoryJournal()
    deps = notify.Deps(notices, state, catalogue, journal, MemoryAlerts(journal), lambda: MOMENT)
    return World(deps, notices, state, catalogue, journal)


async def test_a_repost_is_marked_only_if_the_guild_wants_that(world: World) -> None:
    await world.post("9", "8")
    await world.post("3", "8")
    assert await notify.handle(REPOSTED, world.deps) == ()
    assert world.notices.marked == []
    await world.want(repost_notice="reply", locale="de")
    await notify.handle(REPOSTED, world.deps)
    [(notice, style)] = world.notices.marked
    assert (style, notice.locale, notice.post["discord_message_id"]) == ("reply", "de", "m9")


@pytest.mark.parametrize(
    ("age", "count"), [(timedelta(minutes=14, seconds=59), 1), (timedelta(minutes=15), 0), (timedelta(days=900), 0)]
)
async def test_old_posts_are_not_marked(world: World, age: timedelta, count: int) -> None:
    await world.want(repost_notice="reaction")
    await world.post("9", "8", age=age)
    await world.post("3", "8")
    await notify.handle(REPOSTED, world.deps)
    assert len(world.notices.marked) == count


async def test_a_repost_that_two_generations_found_is_marked_once(world: World) -> None:
    await world.want(repost_notice="reaction")
    await world.post("9", "8")
    await world.post("3", "8")
    facts = [REPOSTED.model_copy(update={"generation": generation}) for generation in ("g2", "g1", "g3")]
    for fact in facts:
        await world.journal.record(fact, ORIGIN)
    for fact in reversed(facts):
        await notify.handle(fact, world.deps)
    assert len(world.notices.marked) == 1


@pytest.mark.parametrize("image_id", ["9", "3"])
async def test_a_hidden_post_is_not_marked(world: World, image_id: str) -> None:
    await world.want(repost_notice="reply")
    for each in ("9", "3"):
        await world.post(each, "8")
    await world.catalogue.merge(image_id, HIDDEN)
    await notify.handle(REPOSTED, world.deps)
    assert world.notices.marked == []


async def test_nobody_is_notified_of_a_hidden_image(world: World) -> None:
    await world.journal.record(SET, ORIGIN)
    await world.post("9", "8")
    world.notices.readers.add(("8", "5"))
    await world.catalogue.merge("9", HIDDEN)
    [delivered] = await notify.handle(TRIGGERED, world.deps)
    assert isinstance(delivered, AlertDelivered)
    assert (delivered.outcome, world.notices.told) == ("withheld", [])


@pytest.mark.parametrize("missing", ["9", "3"])
async def test_a_removed_post_is_not_marked(world: World, missing: str) -> None:
    await world.want(repost_notice="reply")
    for image_id in {"9", "3"} - {missing}:
        await world.post(image_id, "8")
    await notify.handle(REPOSTED, world.deps)
    assert world.notices.marked == []


@pytest.mark.parametrize(
    ("new", "earlier", "readers", "style"),
    [
        (("8", None), ("8", None), set(), "reply"),
        (("8", None), ("80", None), set(), "reaction"),
        (("8", None), ("80", None), {("80", "5")}, "reaction"),
        (("8", None), ("80", None), {("80", "7")}, "reply"),
        (("81", "8"), ("8", None), set(), "reply"),
        (("81", "8"), ("82", "8"), set(), "reply"),
        (("8", None), ("81", None), set(), "reaction"),
    ],
    ids=["same channel", "hidden", "open to the poster alone", "open to all", "thread of it", "threads of one", "private thread"],
)
async def test_a_reply_links_only_posts_that_all_readers_may_read(
    world: World, new: tuple[str, str | None], earlier: tuple[str, str | None], readers: set[tuple[str, str]], style: str
) -> None:
    await world.want(repost_notice="reply")
    await world.post("9", *new)
    await world.post("3", *earlier)
    world.notices.readers = readers
    await notify.handle(REPOSTED, world.deps)
    assert [found for _, found in world.notices.marked] == [style]
    assert True not in world.notices.asked


async def open_alert(world: World) -> None:
    await world.journal.record(SET, ORIGIN)
    await world.post("9", "80")
    world.notices.readers = {("80", "5")}


@pytest.mark.parametrize("outcome", ["direct", "mention", "undeliverable"])
async def test_the_owner_of_an_alert_is_notified(world: World, outcome: Literal["direct", "mention", "undeliverable"]) -> None:
    await open_alert(world)
    world.notices.outcome = outcome
    assert await notify.handle(TRIGGERED, world.deps) == (AlertDelivered(**ALERT, image_id="9", outcome=outcome),)
    [(notice, person, channel_id, alert_id)] = world.notices.told
    assert (person, channel_id, alert_id, notice.locale, world.notices.asked) == (ALEX, "8", "13", "de", [True])


async def test_nobody_is_notified_about_a_channel_that_they_may_not_read(world: World) -> None:
    await open_alert(world)
    world.notices.readers = {("80", "6")}
    assert await notify.handle(TRIGGERED, world.deps) == (AlertDelivered(**ALERT, image_id="9", outcome="withheld"),)
    assert world.notices.told == []


async def test_a_removed_image_is_withheld_and_one_without_a_post_is_retried(world: World) -> None:
    await open_alert(world)
    world.catalogue.documents.clear()
    with pytest.raises(Retry, match="is not catalogued yet"):
        await notify.handle(TRIGGERED, world.deps)
    await world.catalogue.merge("9", {"media": {}})
    with pytest.raises(Retry, match="is not catalogued yet"):
        await notify.handle(TRIGGERED, world.deps)
    await world.catalogue.remove("9")
    assert await notify.handle(TRIGGERED, world.deps) == (AlertDelivered(**ALERT, image_id="9", outcome="withheld"),)
    assert world.notices.told == []


@pytest.mark.parametrize(
    "over",
    [
        AlertDelivered(**ALERT, image_id="9", outcome="withheld"),
        AlertDelivered(**ALERT, image_id="99", outcome="direct"),
        AlertCancelled(**ALERT, cancelled_at=MOMENT),
    ],
    ids=["told of it", "told of another", "cancelled"],
)
async def test_an_ended_alert_is_not_notified_again(world: World, over: AlertDelivered | AlertCancelled) -> None:
    await open_alert(world)
    await world.journal.record(over, ORIGIN)
    assert await notify.handle(TRIGGERED, world.deps) == ()
    assert world.notices.told == []


async def test_an_erased_alert_is_not_notified(world: World) -> None:
    await world.post("9", "80")
    world.notices.readers = {("80", "5")}
    assert await notify.handle(TRIGGERED, world.deps) == ()
