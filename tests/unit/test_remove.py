"""The stage remove: which images a request is about, and that repeated handling gives the same tombstones."""

from datetime import timedelta
from typing import Any

import pytest

from contracts.envelope import Origin
from contracts.events import Fact, ImagePosted, ImageRemoved, Person, RemovalRequested
from stages.remove import MAX_CLOCK_SKEW, STAGE, Deps, handle
from tests.support.facts import MOMENT, posted
from tests.support.fakes import MemoryErasure, MemoryJournal, MemoryPosts
from tests.support.posts import hidden, removed, shown


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def erasure(journal: MemoryJournal) -> MemoryErasure:
    return MemoryErasure(journal)


@pytest.fixture
def deps(journal: MemoryJournal, erasure: MemoryErasure) -> Deps:
    return Deps(MemoryPosts(journal), erasure)


async def record(journal: MemoryJournal, image_id: str, **fields: Any) -> ImagePosted:
    post = posted(image_id).model_copy(update=fields)
    await journal.record(post, Origin("m"))
    return post


def request(scope: str, target: str, **fields: Any) -> RemovalRequested:
    values = {"guild_id": "7", "removal_id": f"deleted-{target}", "cause": "deleted", "requested_at": MOMENT} | fields
    return RemovalRequested(scope=scope, target=target, **values)


def ids(facts: Any) -> list[str]:
    return [fact.image_id for fact in facts]


async def test_a_deleted_message_removes_all_its_images_and_no_others(journal: MemoryJournal, deps: Deps) -> None:
    for image in ("1", "2", "10-0"):
        await record(journal, image)
    await record(journal, "3", message_id="11")
    await record(journal, "4", guild_id="8")
    assert ids(await handle(request("message", "10"), deps)) == ["1", "2", "10-0"]
    assert ids(await handle(request("message", "12"), deps)) == []


async def test_a_tombstone_depends_on_post_and_request_alone(journal: MemoryJournal, deps: Deps) -> None:
    await record(journal, "1", thread_of="6")
    event = request("message", "10", cause="forgotten")
    facts = await handle(event, deps)
    assert facts == [
        ImageRemoved(
            guild_id="7", channel_id="8", image_id="1", thread_of="6", message_id="10", removed_at=MOMENT, cause="forgotten"
        )
    ]
    assert await handle(event, deps) == facts


@pytest.mark.parametrize(("keep", "gone"), [(("1", "2"), []), (("2",), ["1"]), ((), ["1", "2"])])
async def test_an_edit_keeps_what_is_still_attached_and_every_embed(
    journal: MemoryJournal, deps: Deps, keep: tuple[str, ...], gone: list[str]
) -> None:
    for image in ("1", "2", "10-0"):
        await record(journal, image)
    assert ids(await handle(request("message", "10", removal_id="edited-10-99", keep=keep), deps)) == gone


async def test_one_image_of_a_message_is_removed(journal: MemoryJournal, deps: Deps) -> None:
    for image in ("1", "2"):
        await record(journal, image)
    [tombstone] = await handle(request("image", "2", message_id="10"), deps)
    assert tombstone == removed(posted("2"))
    assert await handle(request("image", "2", message_id="11"), deps) == []
    assert await handle(request("image", "10", message_id="10"), deps) == []


async def test_an_image_expires_only_while_its_message_does_not_show_it(journal: MemoryJournal, deps: Deps) -> None:
    post, event = await record(journal, "1"), request("image", "1", message_id="10", expired=True)
    for fact, expected in (
        (None, []),
        (hidden(post), [removed(post, expired=True)]),
        (shown(post), []),
        (hidden(post, 2), [removed(post, expired=True)]),
    ):
        if fact is not None:
            await journal.record(fact, Origin("m"))
        assert await handle(event, deps) == expected


async def test_a_hidden_image_is_removed_with_its_message(journal: MemoryJournal, deps: Deps) -> None:
    await journal.record(hidden(await record(journal, "1")), Origin("m"))
    assert await handle(request("message", "10"), deps) == [removed(posted("1"))]


async def test_a_deleted_channel_removes_the_images_of_its_threads(journal: MemoryJournal, deps: Deps) -> None:
    await record(journal, "1", channel_id="8")
    await record(journal, "2", channel_id="81", thread_of="8")
    await record(journal, "3", channel_id="9")
    assert ids(await handle(request("channel", "8"), deps)) == ["1", "2"]
    assert ids(await handle(request("channel", "81"), deps)) == ["2"]


async def test_an_author_is_forgotten_with_votes_and_alerts_and_in_this_guild_only(
    journal: MemoryJournal, deps: Deps, erasure: MemoryErasure
) -> None:
    await record(journal, "1")
    await record(journal, "2", author=Person(id="6", name="Alex"))
    await record(journal, "3", guild_id="8")
    assert ids(await handle(request("author", "5", cause="forgotten"), deps)) == ["1"]
    assert erasure.persons == [("7", "5")]


@pytest.mark.parametrize("scope", ["message", "channel", "guild"])
async def test_deletions_do_not_erase_votes_and_alerts(deps: Deps, erasure: MemoryErasure, scope: str) -> None:
    await handle(request(scope, "7"), deps)
    assert erasure.persons == []


async def test_all_images_of_a_left_guild_are_removed(journal: MemoryJournal, deps: Deps) -> None:
    for image, channel in (("1", "8"), ("2", "9")):
        await record(journal, image, channel_id=channel)
    await record(journal, "3", guild_id="8")
    assert ids(await handle(request("guild", "7"), deps)) == ["1", "2"]


@pytest.mark.parametrize(("scope", "target"), [("author", "5"), ("guild", "7")])
async def test_posts_made_after_the_request_stay(journal: MemoryJournal, deps: Deps, scope: str, target: str) -> None:
    await record(journal, "1", posted_at=MOMENT)
    await record(journal, "2", posted_at=MOMENT + MAX_CLOCK_SKEW)
    await record(journal, "3", posted_at=MOMENT + timedelta(hours=1))
    assert ids(await handle(request(scope, target), deps)) == ["1", "2"]


@pytest.mark.parametrize(("scope", "target"), [("message", "10"), ("channel", "8")])
async def test_deleted_posts_are_removed_whatever_their_time(journal: MemoryJournal, deps: Deps, scope: str, target: str) -> None:
    await record(journal, "1", posted_at=MOMENT + timedelta(hours=1))
    assert ids(await handle(request(scope, target), deps)) == ["1"]


def test_the_declaration_of_the_stage() -> None:
    emitted: tuple[type[Fact], ...] = (ImageRemoved,)
    assert STAGE.families == ("removal",)
    assert STAGE.emits == emitted
