"""The first release's posts do not name their message in the subject, and are known all the same: found, and not recorded again."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.events import ImagePosted
from contracts.subjects import IMAGES
from infra.blobs.files import open_blob_store
from infra.nats.erasure import LogErasure
from infra.nats.journal import JetStreamJournal
from infra.nats.posts import LogPosts
from infra.nats.wire import read
from pipeline import topology
from pipeline.registry import STAGES
from tests.suites.bench_stage import count
from tests.suites.golden_log import lines, load


@pytest.fixture
async def first_release(client: Client, tmp_path: Path) -> Sequence[ImagePosted]:
    """The posts of the golden log, which is on the server."""
    await load(client, open_blob_store(tmp_path / "blobs"))
    await topology.apply(client, STAGES)
    facts = [
        read(line.subject, line.headers, line.body).fact for line in lines() if line.subject.startswith("mapseek.image.posted.")
    ]
    return [fact for fact in facts if isinstance(fact, ImagePosted)]


async def test_a_back_fill_records_none_of_them_again(
    client: Client, journal: JetStreamJournal, first_release: Sequence[ImagePosted]
) -> None:
    was = await count(client, IMAGES)
    for post in first_release:
        assert not await journal.record(post, Origin("m"))
    assert await count(client, IMAGES) == was
    assert await journal.record(first_release[0].model_copy(update={"image_id": "1"}), Origin("m"))


async def test_the_deletion_of_their_message_finds_them_until_they_are_erased(
    client: Client, journal: JetStreamJournal, first_release: Sequence[ImagePosted]
) -> None:
    posts, first = LogPosts(client), first_release[0]
    for post in first_release:
        assert post in await posts.of_message(post.guild_id, post.message_id)
    assert await posts.of_message(first.guild_id, "1") == []
    assert await posts.of_message("7", first.message_id) == []
    later = first.model_copy(update={"image_id": f"{first.message_id}-0"})
    await journal.record(later, Origin("m"))
    assert await posts.of_message(first.guild_id, first.message_id) == [first, later]
    erasure = LogErasure(client)
    _, until = await erasure.history(first.guild_id, first.image_id)
    await erasure.erase_image(first.guild_id, first.image_id, until)
    assert await posts.of_message(first.guild_id, first.message_id) == [later]
