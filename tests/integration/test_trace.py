"""Find an image or a search by an id or a link, and read all its facts, on a real nats-server."""

import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import AttemptFailed, ImageDownloaded, ImageFact, SearchFact
from contracts.subjects import failure_subject, retry_subject
from infra.nats.journal import JetStreamJournal
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from pipeline.trace.lookup import Entity, find_entities, read_history
from pipeline.trace.story import build_story
from tests.support.facts import BLOB, INCIDENT, example_facts, posted


@pytest.fixture(autouse=True)
async def _provisioned(client: Client) -> None:
    await topology.ensure_topology(client, [])


async def test_an_id_finds_images_of_every_guild_and_a_link_finds_all_images_of_a_message(
    client: Client, journal: JetStreamJournal
) -> None:
    for image in ("20", "21-0"):
        await journal.record(posted(image), Origin("m"))
    await journal.record(posted("30").model_copy(update={"message_id": "11"}), Origin("m"))
    await journal.record(posted("20", guild_id="8"), Origin("m"))
    assert await find_entities(client, " 21-0 ") == [Entity("image", "7", "21-0")]
    assert await find_entities(client, "20") == [Entity("image", "7", "20"), Entity("image", "8", "20")]
    images = [Entity("image", "7", "20"), Entity("image", "7", "21-0")]
    assert await find_entities(client, "https://discord.com/channels/7/8/10") == images
    for unknown in ("2", "10", "https://discord.com/channels/9/8/10", "https://discord.com/channels/7/8/12"):
        with pytest.raises(MapSeekError, match="The log has no image, message or search"):
            await find_entities(client, unknown)
    for nonsense in ("", "two words", "*", "a.b", ">", "https://example.org/channels/7/8/10"):
        with pytest.raises(MapSeekError, match="is neither an id nor the link"):
            await find_entities(client, nonsense)


async def test_everything_about_one_entity_is_read_and_nothing_about_others(client: Client, journal: JetStreamJournal) -> None:
    for fact in example_facts():
        await journal.record(fact, Origin("m"))
    await journal.record(posted("99"), Origin("m"))
    js = client.jetstream()
    entry = {"mapseek-stream": "IMAGES"}
    await js.publish(failure_subject("embed", "image", 2, "g1"), b"{}", headers=entry)
    await js.publish(retry_subject("persist", "image", 1), b"{}", headers=entry)
    await js.publish(failure_subject("download", "search", 1), b"{}", headers={"mapseek-stream": "SEARCHES"})
    image = await read_history(client, Entity("image", "7", "9"))
    kinds = [fact for fact in example_facts() if isinstance(fact, ImageFact)]
    assert len(image.facts) == len(kinds)
    assert [letter.id for letter in image.letters] == ["embed/image/2/g1"]
    assert [letter.id for letter in image.waiting] == ["persist/image/1"]
    assert len(image.incidents) == 4
    search = await read_history(client, Entity("search", "7", "11"))
    assert len(search.facts) >= len([fact for fact in example_facts() if isinstance(fact, SearchFact)]) + 3
    assert [letter.id for letter in search.letters] == ["download/search/1"]
    assert search.incidents == []


async def test_a_story_has_its_steps_in_order_with_process_and_time_since_the_cause(
    client: Client, journal: JetStreamJournal
) -> None:
    post = posted()
    await journal.record(post, Origin("m"))
    origin = Origin("m", "mapseek.image.posted.v1.7.9.10", replayed=True)
    await journal.record(ImageDownloaded(**post.identity, blob=BLOB, size=3), origin)
    await journal.record(AttemptFailed(**INCIDENT, attempt=2, reason="the CDN answered 503", delay_s=2.0), Origin("m"))
    await client.jetstream().publish("mapseek.image.preprocessed.v99.7.9.p1", b"unreadable")
    story = build_story(await read_history(client, Entity("image", "7", "9")), STAGES)
    steps = {step.what: step for step in story.steps}
    assert (steps["posted"].stage, steps["posted"].process, steps["posted"].after_s) == ("gateway", "test", None)
    assert steps["downloaded"].stage == "download"
    assert steps["downloaded"].replayed
    assert 0 <= (steps["downloaded"].after_s or -1) < 60
    failed = steps["attempt 2 failed"]
    assert (failed.stage, failed.process, failed.generation) == ("embed", "host/1", "g2")
    assert failed.detail == "the CDN answered 503; tried again after 2 s"
    assert steps["preprocessed"].detail == "cannot be read by this version"
    assert [step.what for step in story.steps][-1] == "preprocessed"
    assert {type(fact) for fact in story.facts} == {type(post), ImageDownloaded}
