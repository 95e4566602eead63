"""LogPosts, LogErasure and the look-ups of the Journal on a real nats-server."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from contracts.envelope import UPCASTERS, Origin
from contracts.errors import Unavailable
from contracts.events import (
    AlertCancelled,
    AlertFact,
    AttemptFailed,
    Fact,
    ImageDownloaded,
    ImageEmbedded,
    ImageFact,
    ImagePosted,
    ImagePreprocessed,
    ImageRemoved,
    ImageReposted,
    Person,
)
from contracts.subjects import (
    ALERTS,
    FAILURES,
    IMAGES,
    INCIDENTS,
    JUDGEMENTS,
    RETRIES,
    SEARCHES,
    failure_subject,
    incident_filter,
    retry_subject,
)
from infra.nats import reader
from infra.nats.erasure import LogErasure
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import LogPosts
from pipeline.engine import topology
from tests.support.bench_stage import count_messages
from tests.support.facts import BLOB, IMAGE, INCIDENT, MOMENT, example_facts, posted
from tests.support.programs import freeze, thaw


@pytest.fixture(autouse=True)
async def logs(client: Client) -> None:
    await topology.ensure_topology(client, [])


@pytest.fixture
def posts(client: Client) -> LogPosts:
    return LogPosts(client)


@pytest.fixture
def erasure(client: Client) -> LogErasure:
    return LogErasure(client)


@pytest.fixture
def record(journal: JetStreamJournal) -> Callable[..., Any]:
    async def record(image_id: str, **fields: Any) -> ImagePosted:
        post = posted(image_id).model_copy(update=fields)
        assert await journal.record(post, Origin("m"))
        return post

    return record


def make_tombstone(post: ImagePosted) -> ImageRemoved:
    return ImageRemoved(**post.identity, message_id=post.message_id, removed_at=MOMENT, cause="deleted")


async def erase(erasure: LogErasure, image_id: str) -> None:
    _, until = await erasure.history("7", image_id)
    await erasure.erase_image("7", image_id, until)


async def list_image_ids(found: AsyncIterator[ImagePosted]) -> list[str]:
    return [post.image_id async for post in found]


async def test_images_of_a_message_are_found_in_recorded_order(posts: LogPosts, record: Any) -> None:
    for image in ("3", "1", "10-0", "2"):
        await record(image)
    await record("4", message_id="11")
    await record("5", guild_id="8")
    assert [post.image_id for post in await posts.of_message("7", "10")] == ["3", "1", "10-0", "2"]
    assert await posts.of_message("7", "12") == []
    assert await posts.of_message("7", "10") == [posted(image) for image in ("3", "1", "10-0", "2")]


async def test_posts_of_a_guild_are_read_up_to_the_end_of_the_log_at_the_call(posts: LogPosts, record: Any) -> None:
    for number in range(600):
        await record(str(number), guild_id="78" if number % 3 else "7")
    found: list[str] = []
    async for post in posts.of_guild("7"):
        if not found:
            await record("later")
        found.append(post.image_id)
    assert found == [str(number) for number in range(0, 600, 3)]
    assert await list_image_ids(posts.of_guild("9")) == []


async def test_posts_are_filtered_by_channel_thread_and_author(posts: LogPosts, record: Any) -> None:
    await record("1")
    await record("2", channel_id="81", thread_of="8")
    await record("3", channel_id="9", author=Person(id="6", name="Alex"))
    assert await list_image_ids(posts.of_guild("7", channel_id="8")) == ["1", "2"]
    assert await list_image_ids(posts.of_guild("7", channel_id="81")) == ["2"]
    assert await list_image_ids(posts.of_guild("7", author_id="5")) == ["1", "2"]
    assert await list_image_ids(posts.of_guild("7", author_id="6", channel_id="8")) == []


async def test_posts_since_a_moment_are_those_recorded_since_then(posts: LogPosts, record: Any) -> None:
    await record("1")
    moment = datetime.now(UTC)
    await record("2", posted_at=MOMENT - timedelta(days=900))
    assert await list_image_ids(posts.of_guild("7", since=moment)) == ["2"]
    assert await list_image_ids(posts.of_guild("7", since=moment - timedelta(hours=1))) == ["1", "2"]
    assert await list_image_ids(posts.of_guild("7", since=datetime.now(UTC))) == []


async def test_entries_purged_during_a_read_are_not_waited_for(
    posts: LogPosts, erasure: LogErasure, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "FETCH_BATCH_MESSAGES", 2)
    for number in range(6):
        await record(str(number))
    found: list[str] = []
    async for post in posts.of_guild("7"):
        found.append(post.image_id)
        for number in ("3", "4", "5"):
            await erase(erasure, number)
    assert found[:2] == ["0", "1"]
    assert "5" not in found


async def test_an_unreadable_entry_is_skipped(client: Client, posts: LogPosts, record: Any) -> None:
    await client.jetstream().publish("mapseek.image.posted.v1.7.0.10", b"unreadable")
    await record("1")
    assert await list_image_ids(posts.of_guild("7")) == ["1"]
    assert [post.image_id for post in await posts.of_message("7", "10")] == ["1"]


async def test_the_post_of_a_removed_image_is_always_refused(
    journal: JetStreamJournal, erasure: LogErasure, posts: LogPosts, record: Any
) -> None:
    post = await record("1")
    assert await journal.record(make_tombstone(post), Origin("m"))
    assert not await journal.record(post, Origin("m"))
    await erase(erasure, "1")
    assert await posts.of_message("7", "10") == []
    assert not await journal.record(post, Origin("m"))
    assert not await journal.record(make_tombstone(post), Origin("m"))
    assert await journal.fetch(ImageRemoved, *post.key) == make_tombstone(post)


async def test_the_post_of_an_image_that_was_removed_before_it_was_posted_is_refused(journal: JetStreamJournal) -> None:
    assert await journal.record(make_tombstone(posted("1")), Origin("m"))
    assert not await journal.record(posted("1"), Origin("m"))
    assert await journal.record(posted("2"), Origin("m"))


async def test_other_facts_of_an_image_do_not_block_its_post(journal: JetStreamJournal) -> None:
    """The last token of a post's subject is the message id. Other facts have their variant there."""
    await journal.record(ImageEmbedded(**posted("1").identity, generation="g1", vector=b"\0\0\0\0"), Origin("m"))
    assert await journal.record(posted("1"), Origin("m"))


async def test_a_fact_is_fetched_by_its_kind_and_key(journal: JetStreamJournal) -> None:
    for fact in example_facts():
        await journal.record(fact, Origin("m"))
        if isinstance(fact, ImageRemoved):
            continue
        assert await journal.holds(type(fact), *fact.key)
        assert await journal.fetch(type(fact), *fact.key) == fact
    assert await journal.fetch(ImageDownloaded, "7", "none") is None
    assert not await journal.holds(ImageDownloaded, "7", "none")


async def test_a_fact_of_an_older_version_is_found_and_not_recorded_again(
    journal: JetStreamJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded = ImageDownloaded(**IMAGE, blob=BLOB, size=1234)
    assert await journal.record(downloaded, Origin("m"))
    monkeypatch.setattr(ImageDownloaded, "version", 2)
    monkeypatch.setitem(UPCASTERS, ("image.downloaded", 1), lambda document: document | {"size": 4321})
    assert not await journal.record(downloaded, Origin("m"))
    assert await journal.fetch(ImageDownloaded, *downloaded.key) == downloaded.model_copy(update={"size": 4321})


async def test_the_first_of_an_entitys_variants_in_the_log_is_found(journal: JetStreamJournal) -> None:
    facts = [
        ImageReposted(guild_id="7", channel_id="8", image_id=image_id, generation=generation, same_as="1", score=0.9)
        for image_id, generation in (("11", "g1"), ("9", "g2"), ("9", "g1"), ("9", "g3"))
    ]
    for fact in facts:
        await journal.record(fact, Origin("m"))
    assert await journal.fetch_first(ImageReposted, "7", "9") == facts[1]
    assert await journal.fetch_first(ImageReposted, "7", "1") is None
    assert await journal.fetch_first(ImageEmbedded, "7", "9") is None


def make_history(image_id: str) -> list[ImageFact]:
    facts: list[Fact] = [fact for fact in example_facts() if isinstance(fact, ImageFact)]
    second = [fact.model_copy(update={"preprocessing": "p2"}) for fact in facts if isinstance(fact, ImagePreprocessed)]
    return [fact.model_copy(update={"image_id": image_id}) for fact in (*facts, *second) if isinstance(fact, ImageFact)]


async def test_a_history_has_all_facts_of_one_image_in_order(journal: JetStreamJournal, erasure: LogErasure) -> None:
    facts = make_history("1")
    for fact in facts:
        for image in ("1", "11"):
            assert await journal.record(fact.model_copy(update={"image_id": image}), Origin("m"))
    assert (await erasure.history("7", "1"))[0] == facts
    assert (await erasure.history("8", "1"))[0] == []


async def test_erasing_an_image_leaves_its_tombstone_and_all_other_images(
    client: Client, journal: JetStreamJournal, erasure: LogErasure
) -> None:
    for image in ("1", "11"):
        for fact in make_history(image):
            await journal.record(fact, Origin("m"))
    for _ in range(2):
        await erase(erasure, "1")
        assert [type(fact) for fact in (await erasure.history("7", "1"))[0]] == [ImageRemoved]
    assert (await erasure.history("7", "11"))[0] == make_history("11")
    assert await count_messages(client, IMAGES) == 1 + len(make_history("11"))


async def test_dead_letters_of_an_image_are_erased_with_it(
    client: Client, journal: JetStreamJournal, erasure: LogErasure, record: Any
) -> None:
    """A dead letter is named after the log entry that a stage failed on, and holds all of it."""
    for image in ("1", "2"):
        await record(image)
    copies = {FAILURES: failure_subject, RETRIES: retry_subject}
    for subject in copies.values():
        for stage, sequence in (("download", 1), ("persist", 1), ("download", 2), ("download", 11)):
            await client.jetstream().publish(subject(stage, "image", sequence), b"the post")
        await client.jetstream().publish(subject("embed", "image", 1, "g2"), b"the post")
        await client.jetstream().publish(subject("download", "search", 1), b"a question")
    await client.jetstream().publish(failure_subject("download", "image", 1), b"the post, buried anew")
    await erase(erasure, "1")
    for stream, subject in copies.items():
        left = await client.jetstream().stream_info(stream, subjects_filter=">")
        assert set(left.state.subjects or {}) == {
            subject("download", "image", 2),
            subject("download", "image", 11),
            subject("download", "search", 1),
        }


async def test_incidents_of_an_image_are_erased_with_it(
    client: Client, journal: JetStreamJournal, erasure: LogErasure, record: Any
) -> None:
    for image in ("1", "11"):
        await record(image)
        for number in (1, 2):
            about = INCIDENT | {"entity_id": image, "attempt": number}
            await journal.record(AttemptFailed(**about, reason="no", delay_s=1.0), Origin("m"))
    for _ in range(2):
        await erase(erasure, "1")
        assert await count_messages(client, INCIDENTS) == await count_messages(client, INCIDENTS, incident_filter("7", "11")) == 2


async def test_facts_recorded_after_the_history_was_read_are_not_erased(journal: JetStreamJournal, erasure: LogErasure) -> None:
    post = posted("1")
    await journal.record(post, Origin("m"))
    _, until = await erasure.history("7", "1")
    late = ImageDownloaded(**post.identity, blob="a" * 64, size=1)
    await journal.record(late, Origin("m"))
    await erasure.erase_image("7", "1", until)
    assert (await erasure.history("7", "1"))[0] == [late]
    await erase(erasure, "1")
    assert (await erasure.history("7", "1"))[0] == []


async def test_erasing_a_person_erases_their_votes_and_alerts_in_this_guild(
    client: Client, journal: JetStreamJournal, erasure: LogErasure
) -> None:
    for fact in example_facts():
        await journal.record(fact, Origin("m"))
    elsewhere = AlertCancelled(guild_id="8", alert_id="13", person=Person(id="5", name="Alex"), cancelled_at=MOMENT)
    of_another = AlertCancelled(guild_id="7", alert_id="14", person=Person(id="55", name="Steve"), cancelled_at=MOMENT)
    for fact in (elsewhere, of_another):
        await journal.record(fact, Origin("m"))
    theirs, alerts = {"11", "13"}, 2 + len([fact for fact in example_facts() if isinstance(fact, AlertFact)])
    for entity in (*theirs, "14"):
        about = INCIDENT | {"entity_id": entity, "lane": "alert"}
        await journal.record(AttemptFailed(**about, attempt=9, reason="no", delay_s=1.0), Origin("m"))
    for sequence in range(1, alerts + 1):
        await client.jetstream().publish(failure_subject("notify", "alert", sequence), b"the alert")
    before = {stream: await count_messages(client, stream) for stream in (IMAGES, SEARCHES)}
    assert await count_messages(client, JUDGEMENTS) == 1
    for _ in range(2):
        await erasure.erase_person("7", "5")
        assert await count_messages(client, JUDGEMENTS) == 0
        assert await count_messages(client, ALERTS) == 2
        assert await count_messages(client, FAILURES) == 2
        assert [await count_messages(client, INCIDENTS, incident_filter("7", each)) for each in (*theirs, "14")] == [0, 0, 1]
    assert {stream: await count_messages(client, stream) for stream in (IMAGES, SEARCHES)} == before


async def test_a_server_that_is_down_is_unavailable(client: Client, record: Any, tmp_path: Path) -> None:
    await record("1")
    pid = int((tmp_path / "nats-server" / "server.pid").read_text())
    journal = JetStreamJournal(client, source="test", now=lambda: MOMENT, timeout=0.3)
    posts, erasure = LogPosts(client, timeout=0.3), LogErasure(client, timeout=0.3)
    freeze(pid)
    try:
        for call in (
            journal.record(posted("2"), Origin("m")),
            journal.holds(ImagePosted, "7", "1", "10"),
            journal.fetch(ImagePosted, "7", "1", "10"),
            journal.fetch_first(ImageReposted, "7", "1"),
            posts.of_message("7", "10"),
            erasure.history("7", "1"),
            erasure.erase_image("7", "1", 1),
            erasure.erase_person("7", "5"),
        ):
            with pytest.raises(Unavailable, match="log is unavailable"):
                await call
    finally:
        thaw(pid)
    assert await journal.fetch(ImagePosted, "7", "1", "10") == posted("1")


async def test_a_server_that_stops_during_a_read_is_unavailable(client: Client, posts: LogPosts, record: Any) -> None:
    await record("1")
    await client.close()
    with pytest.raises(Unavailable):
        await list_image_ids(posts.of_guild("7"))
