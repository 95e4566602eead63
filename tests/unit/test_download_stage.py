"""The stage download: which file becomes which blob, in both lanes, and its errors."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.errors import Reject, RejectCode, Retry, Unavailable
from contracts.events import (
    DiscordFile,
    ImageDownloaded,
    ImagePosted,
    LocalReply,
    Person,
    Question,
    SearchDownloaded,
    SearchRequested,
    Source,
    StoredFile,
)
from infra.blobs.files import FileBlobStore, open_blob_store
from stages.download import STAGE, Deps, handle

ON_DISCORD = DiscordFile(url="https://cdn.discordapp.com/attachments/1/2/map.png")
QUESTION = Question(asker=Person(id="5", name="ann"), requested_at=datetime(2026, 1, 1, tzinfo=UTC), reply=LocalReply())


class Cdn:
    """A Downloader with one file, or one error."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.asked: list[DiscordFile] = []

    async def fetch(self, file: DiscordFile) -> bytes:
        self.asked.append(file)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobStore:
    return open_blob_store(tmp_path)


def posted(source: Source) -> ImagePosted:
    return ImagePosted(
        guild_id="1",
        channel_id="2",
        image_id="3",
        message_id="4",
        author=Person(id="5", name="ann"),
        posted_at=datetime(2026, 1, 1, tzinfo=UTC),
        filename="map.png",
        message_link="https://discord.com/channels/1/2/4",
        source=source,
    )


def requested(source: Source) -> SearchRequested:
    return SearchRequested(guild_id="1", search_id="9", question=QUESTION, filename="map.png", source=source)


async def test_a_posted_image_becomes_a_blob(blobs: FileBlobStore) -> None:
    cdn = Cdn(b"picture")
    facts = await handle(posted(ON_DISCORD), Deps(cdn, blobs))
    name = hashlib.sha256(b"picture").hexdigest()
    assert facts == [ImageDownloaded(guild_id="1", channel_id="2", image_id="3", blob=name, size=7)]
    assert await blobs.get(name) == b"picture"
    assert cdn.asked == [ON_DISCORD]


async def test_a_query_image_becomes_a_blob(blobs: FileBlobStore) -> None:
    facts = await handle(requested(ON_DISCORD), Deps(Cdn(b"picture"), blobs))
    name = hashlib.sha256(b"picture").hexdigest()
    assert facts == [SearchDownloaded(guild_id="1", search_id="9", question=QUESTION, blob=name, size=7)]
    assert await blobs.get(name) == b"picture"


async def test_a_stored_file_is_not_downloaded(blobs: FileBlobStore) -> None:
    cdn = Cdn(AssertionError("nothing to fetch"))
    name = await blobs.put(b"from a folder")
    (image,) = await handle(posted(StoredFile(blob=name)), Deps(cdn, blobs))
    (search,) = await handle(requested(StoredFile(blob=name)), Deps(cdn, blobs))
    assert isinstance(image, ImageDownloaded)
    assert (image.blob, image.size) == (name, 13)
    assert isinstance(search, SearchDownloaded)
    assert (search.blob, search.size) == (name, 13)


async def test_a_missing_stored_file_is_rejected_as_gone(blobs: FileBlobStore) -> None:
    with pytest.raises(Reject) as info:
        await handle(posted(StoredFile(blob="0" * 64)), Deps(Cdn(b""), blobs))
    assert info.value.code is RejectCode.GONE


@pytest.mark.parametrize("error", [Reject(RejectCode.TOO_LARGE, "too large"), Retry("later", after=7.0)])
async def test_errors_of_the_downloader_are_passed_on(blobs: FileBlobStore, error: Exception) -> None:
    with pytest.raises(type(error)) as info:
        await handle(posted(ON_DISCORD), Deps(Cdn(error), blobs))
    assert info.value is error


async def test_a_blob_store_that_is_down_is_an_outage_and_rejects_nothing(blobs: FileBlobStore, tmp_path: Path) -> None:
    (tmp_path / "tmp").rmdir()
    for source in (ON_DISCORD, StoredFile(blob="0" * 64)):
        with pytest.raises(Unavailable):
            await handle(posted(source), Deps(Cdn(b"picture"), blobs))


async def test_a_replay_gives_the_same_fact(blobs: FileBlobStore) -> None:
    deps = Deps(Cdn(b"picture"), blobs)
    assert await handle(posted(ON_DISCORD), deps) == await handle(posted(ON_DISCORD), deps)


def test_it_is_one_stage_in_two_lanes() -> None:
    assert STAGE.families == ("image", "search")
    assert STAGE.deps is Deps
