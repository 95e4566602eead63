"""The stage persist on the real SQLite catalogue: what each fact changes in the document, in any order and repeatedly."""

import itertools
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import RejectCode, Retry
from contracts.events import (
    DiscordFile,
    Fact,
    ImageDownloaded,
    ImageEmbedded,
    ImageFact,
    ImageFingerprinted,
    ImageHidden,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
    ImageRemoved,
    ImageReposted,
    ImageResurfaced,
    ImageShown,
    Person,
    StoredFile,
)
from infra.sqlite.catalogue import SqliteCatalogue, open_sqlite_catalogue
from stages.persist import STAGE, Deps, build_fields, handle

WHERE = {"guild_id": "7", "channel_id": "70", "image_id": "1"}
WHEN = datetime(2025, 3, 1, 13, 0, tzinfo=timezone(timedelta(hours=1)))
VECTOR = struct.pack("<2f", 0.6, -0.8)

POSTED = ImagePosted(
    **WHERE,
    message_id="88",
    author=Person(id="42", name="Zoë 🗺️"),
    posted_at=WHEN,
    filename="map.png",
    message_link="https://discord.com/channels/7/70/88",
    source=DiscordFile(url="https://cdn.discordapp.com/attachments/70/1/map.png?ex=1"),
    content_type="image/png",
    size=12_345,
    width=128,
    height=256,
)
DOWNLOADED = ImageDownloaded(**WHERE, blob="c" * 64, size=12_345)
PREPROCESSED = ImagePreprocessed(
    **WHERE, pixels="a" * 64, thumbnail="b" * 64, width=127, height=255, format="PNG", preprocessing="p1"
)
EMBEDDED = ImageEmbedded(**WHERE, generation="g1", vector=VECTOR)
FINGERPRINTED = ImageFingerprinted(
    **WHERE, generation="g1", method="f1", fingerprint="d" * 64, hash="e" * 64, quality=88, features=412
)
REJECTED = ImageRejected(**WHERE, stage="preprocess", code=RejectCode.DAMAGED, reason="The file ends too early.")
REPOSTED = ImageReposted(**WHERE, generation="g1", same_as="0", score=0.98)
REMOVED = ImageRemoved(**WHERE, message_id="88", removed_at=WHEN, cause="deleted")

POST_FIELDS: dict[str, Any] = {
    "discord_message_id": "88",
    "message_link": "https://discord.com/channels/7/70/88",
    "image_url": "https://cdn.discordapp.com/attachments/70/1/map.png?ex=1",
    "metadata": {
        "upload_timestamp": "2025-03-01T12:00:00+00:00",
        "image_dimensions": [128, 256],
        "file_size": 12_345,
        "guild_id": "7",
        "channel_id": "70",
        "thread_of": None,
        "user_id": "42",
        "user_name": "Zoë 🗺️",
        "filename": "map.png",
        "content_type": "image/png",
        "spoiler": False,
    },
}
MEDIA_FIELDS: dict[str, Any] = {
    "media": {
        "pixels": "a" * 64,
        "thumbnail": "b" * 64,
        "width": 127,
        "height": 255,
        "format": "PNG",
        "preprocessing": "p1",
    }
}
FINGERPRINT_FIELDS = {"fingerprint": {"blob": "d" * 64, "method": "f1", "hash": "e" * 64, "quality": 88, "features": 412}}
ORIGINAL_FIELDS = {"original": {"blob": "c" * 64, "size": 12_345}}
REPOST_FIELDS = {"repost_of": {"image_id": "0", "score": 0.98, "generation": "g1"}}
REJECTION_FIELDS = {"rejection": {"stage": "preprocess", "code": "damaged", "reason": "The file ends too early."}}


@pytest.fixture
async def catalogue(tmp_path: Path) -> AsyncIterator[SqliteCatalogue]:
    catalogue = await open_sqlite_catalogue(tmp_path / "catalogue.sqlite")
    yield catalogue
    await catalogue.close()


async def play(catalogue: SqliteCatalogue, *facts: ImageFact) -> list[Fact]:
    """Handle the facts, repeat those that are to be retried, and return the recorded facts."""
    recorded: list[Fact] = []
    waiting = list(facts)
    while waiting:
        later: list[ImageFact] = []
        for fact in waiting:
            try:
                recorded += await handle(fact, Deps(catalogue))
            except Retry:
                later.append(fact)
        assert len(later) < len(waiting), "retried endlessly"
        waiting = later
    return recorded


@pytest.mark.parametrize(
    ("fact", "fields"),
    [
        (POSTED, POST_FIELDS),
        (DOWNLOADED, ORIGINAL_FIELDS),
        (PREPROCESSED, MEDIA_FIELDS),
        (FINGERPRINTED, FINGERPRINT_FIELDS),
        (REJECTED, REJECTION_FIELDS),
        (REPOSTED, REPOST_FIELDS),
    ],
)
def test_each_fact_sets_its_fields(fact: ImageFact, fields: dict[str, Any]) -> None:
    assert build_fields(fact) == fields


def test_missing_data_from_discord_is_none() -> None:
    bare = POSTED.model_copy(update={"width": None, "size": None, "content_type": None, "source": StoredFile(blob="c" * 64)})
    fields = build_fields(bare)
    assert fields["image_url"] == bare.message_link
    assert fields["metadata"]["image_dimensions"] is None
    assert fields["metadata"]["file_size"] is None
    assert fields["metadata"]["content_type"] is None


def test_a_fact_without_fields_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"image\.indexed"):
        build_fields(ImageIndexed(**WHERE, generation="g1"))


async def test_the_parent_channel_of_a_thread_is_stored(catalogue: SqliteCatalogue) -> None:
    in_thread = {"thread_of": "60"}
    recorded = await play(catalogue, POSTED.model_copy(update=in_thread), EMBEDDED.model_copy(update=in_thread))
    assert (await catalogue.entries(["1"]))["1"].document["metadata"]["thread_of"] == "60"
    assert recorded == [ImageIndexed(**WHERE, **in_thread, generation="g1")]


async def test_all_facts_of_an_image_end_with_an_indexed_one(catalogue: SqliteCatalogue) -> None:
    recorded = await play(catalogue, POSTED, DOWNLOADED, PREPROCESSED, FINGERPRINTED, EMBEDDED, REPOSTED)
    assert recorded == [ImageIndexed(**WHERE, generation="g1")]
    whole = POST_FIELDS | ORIGINAL_FIELDS | MEDIA_FIELDS | FINGERPRINT_FIELDS | REPOST_FIELDS
    assert (await catalogue.entries(["1"]))["1"].document == whole
    assert await catalogue.vector("1", "g1") == VECTOR


async def test_a_rejected_image_is_in_the_catalogue_with_its_reason(catalogue: SqliteCatalogue) -> None:
    assert await play(catalogue, POSTED, REJECTED) == []
    assert (await catalogue.entries(["1"]))["1"].document == POST_FIELDS | REJECTION_FIELDS


@pytest.mark.parametrize("before", [(), (PREPROCESSED,), (REJECTED,)], ids=["nothing", "media", "rejection"])
async def test_a_vector_waits_for_its_post(catalogue: SqliteCatalogue, before: tuple[ImageFact, ...]) -> None:
    await play(catalogue, *before)
    with pytest.raises(Retry, match="image 1 has a vector, but its post is not catalogued yet"):
        await handle(EMBEDDED, Deps(catalogue))
    assert await catalogue.vector("1", "g1") is None


@pytest.mark.parametrize("order", [*itertools.permutations([POSTED, PREPROCESSED, EMBEDDED])], ids=lambda _: "order")
async def test_any_order_and_any_repetition_give_the_same_document(
    catalogue: SqliteCatalogue, order: tuple[ImageFact, ...]
) -> None:
    recorded = await play(catalogue, *order, *order)
    assert set(recorded) == {ImageIndexed(**WHERE, generation="g1")}
    assert (await catalogue.entries(["1"]))["1"].document == POST_FIELDS | MEDIA_FIELDS
    assert await catalogue.vector("1", "g1") == VECTOR
    assert await catalogue.count() == 1


def preprocessed(version: str) -> ImagePreprocessed:
    return PREPROCESSED.model_copy(update={"preprocessing": version, "pixels": version.ljust(64, "0")})


def reposted(generation: str, same_as: str, score: float = 0.9) -> ImageReposted:
    return REPOSTED.model_copy(update={"generation": generation, "same_as": same_as, "score": score})


@pytest.mark.parametrize("order", [*itertools.permutations(["p2", "p10", "p9"])], ids=lambda order: "-".join(order))
async def test_the_document_has_the_pictures_of_the_latest_preprocessing(
    catalogue: SqliteCatalogue, order: tuple[str, ...]
) -> None:
    await play(catalogue, POSTED, *(preprocessed(version) for version in order))
    assert (await catalogue.entries(["1"]))["1"].document["media"]["preprocessing"] == "p10"


def fingerprinted(generation: str, method: str, blob: str) -> ImageFingerprinted:
    return FINGERPRINTED.model_copy(update={"generation": generation, "method": method, "fingerprint": blob})


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))], ids=lambda order: "".join(map(str, order)))
async def test_the_document_has_the_fingerprint_of_the_latest_method(catalogue: SqliteCatalogue, order: tuple[int, ...]) -> None:
    """The last two have the same method, but different preprocessings."""
    found = [
        fingerprinted("g1", "f2", "d" * 64),
        fingerprinted("g2", "f9", "f" * 64),
        fingerprinted("g3", "f10", "0" * 64),
        fingerprinted("g4", "f10", "1" * 64),
    ]
    await play(catalogue, POSTED, *(found[number] for number in order))
    kept = (await catalogue.entries(["1"]))["1"].document["fingerprint"]
    assert kept == build_fields(found[3])["fingerprint"]
    assert await catalogue.uses("1" * 64)
    assert not await catalogue.uses("f" * 64)


@pytest.mark.parametrize("order", [*itertools.permutations(["g1", "g2", "g3"])], ids=lambda order: "-".join(order))
async def test_the_document_links_the_earliest_of_the_first_posts_found(catalogue: SqliteCatalogue, order: tuple[str, ...]) -> None:
    found = {"g1": reposted("g1", "1000"), "g2": reposted("g2", "999", 0.8), "g3": reposted("g3", "999", 0.99)}
    await play(catalogue, POSTED, *(found[generation] for generation in order))
    assert (await catalogue.entries(["1"]))["1"].document["repost_of"] == {"image_id": "999", "score": 0.8, "generation": "g2"}


def hidden(turn: int) -> ImageHidden:
    return ImageHidden(**WHERE, message_id="88", turn=turn, hidden_at=WHEN)


def shown(turn: int, *, spoiler: bool = False) -> ImageShown:
    return ImageShown(**WHERE, message_id="88", turn=turn, shown_at=WHEN, spoiler=spoiler)


@pytest.mark.parametrize(
    ("facts", "visibility"),
    [
        ((hidden(1),), {"turn": 1, "hidden": True, "spoiler": False}),
        ((hidden(1), shown(1)), {"turn": 1, "hidden": False, "spoiler": False}),
        ((hidden(1), shown(1, spoiler=True), hidden(2)), {"turn": 2, "hidden": True, "spoiler": False}),
        ((hidden(9), shown(9), shown(10, spoiler=True)), {"turn": 10, "hidden": False, "spoiler": True}),
    ],
    ids=["hidden", "shown again", "hidden again", "a spoiler"],
)
async def test_the_highest_turn_says_whether_the_image_is_shown(
    tmp_path: Path, facts: tuple[ImageFact, ...], visibility: dict[str, Any]
) -> None:
    for number, order in enumerate(itertools.permutations((POSTED, EMBEDDED, *facts))):
        catalogue = await open_sqlite_catalogue(tmp_path / f"{number}.sqlite")
        recorded = await play(catalogue, *order, facts[0])
        document = (await catalogue.entries(["1"], with_hidden=True))["1"].document
        await catalogue.close()
        assert document == POST_FIELDS | {"visibility": visibility}
        assert [type(fact) for fact in recorded] == [ImageIndexed]


async def test_each_generation_is_indexed(catalogue: SqliteCatalogue) -> None:
    second = EMBEDDED.model_copy(update={"generation": "g2"})
    recorded = await play(catalogue, POSTED, EMBEDDED, second)
    assert [fact.generation for fact in recorded if isinstance(fact, ImageIndexed)] == ["g1", "g2"]


@pytest.mark.parametrize("before", [(), (POSTED, PREPROCESSED), (POSTED, PREPROCESSED, EMBEDDED)], ids=len)
async def test_a_removed_image_is_never_indexed_again_and_late_facts_are_reported(
    catalogue: SqliteCatalogue, before: tuple[ImageFact, ...]
) -> None:
    assert not [fact for fact in await play(catalogue, *before, REMOVED) if isinstance(fact, ImageResurfaced)]
    late = (DOWNLOADED, PREPROCESSED, FINGERPRINTED, EMBEDDED, REJECTED, REPOSTED, hidden(1), shown(1))
    assert await play(catalogue, *late) == [ImageResurfaced(**WHERE, late=fact.name) for fact in late]
    assert await catalogue.entries(["1"]) == {}
    assert await catalogue.vector("1", "g1") is None
    assert await catalogue.is_removed("1")


async def test_the_post_and_the_removal_of_a_removed_image_are_not_reported_as_late(
    catalogue: SqliteCatalogue,
) -> None:
    assert await play(catalogue, REMOVED, POSTED, REMOVED, POSTED) == []
    assert ImageResurfaced not in STAGE.consumes


def test_the_declaration_of_the_stage() -> None:
    assert STAGE.families == ("image",)
    assert STAGE.emits == (ImageIndexed, ImageResurfaced)
    made = {ImageDownloaded, ImagePreprocessed, ImageFingerprinted, ImageEmbedded}
    assert set(STAGE.consumes) == {ImagePosted, *made, ImageRejected, ImageReposted, ImageHidden, ImageShown, ImageRemoved}
    assert STAGE.by_generation == (ImageEmbedded,)


def test_the_time_is_that_of_the_post_in_utc() -> None:
    assert datetime.fromisoformat(build_fields(POSTED)["metadata"]["upload_timestamp"]) == WHEN.astimezone(UTC)
