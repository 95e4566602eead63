"""The behaviour of every FeatureSearch. A test module subclasses FeatureSearchSuite and provides the fixture `archive`.

The fingerprints belong to no real pictures: each has 120 random features, made from a number.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pytest

from contracts.errors import MapSeekError
from contracts.ports import Candidate, FeatureSearch
from infra.vision.features import assign_words, mirror_descriptors
from infra.vision.prints import Print, pack_print

GUILD, OTHER_GUILD = "700", "701"
GENERATION, OTHER_GENERATION = "g1", "g2"
FEATURES = 120
RED, SAND, BLUE, WHITE = (200, 30, 20), (220, 200, 120), (20, 30, 200), (255, 255, 255)


class Archive(FeatureSearch, Protocol):
    """A FeatureSearch that tests can fill with fingerprints."""

    def put(self, guild_id: str, generation: str, image_id: str, channel_id: str, data: bytes) -> None: ...

    def hide(self, image_id: str, turn: int) -> None: ...

    def show(self, image_id: str, turn: int) -> None: ...

    def remove(self, image_id: str) -> None: ...


def random_descriptors(seed: int, count: int = FEATURES) -> np.ndarray:
    """Return random descriptors, different for each seed, (count, 128) uint8."""
    rows = np.random.default_rng(seed).gamma(0.4, 1, (count, 128))
    rows = np.sqrt(rows / rows.sum(axis=1, keepdims=True))
    return np.rint(rows * 255).astype(np.uint8)


def alter_descriptors(rows: np.ndarray, seed: int = 0, by: float = 6) -> np.ndarray:
    """Return the descriptors of the same keypoints in another picture: with noise of strength `by`."""
    noise = np.random.default_rng(seed).normal(0, by, rows.shape)
    return (rows + noise).round().clip(0, 255).astype(np.uint8)


def random_hash(seed: int, bits: int = 0) -> bytes:
    """Return a hash that is far from those of other seeds. The first `bits` bits are inverted."""
    whole = np.unpackbits(np.frombuffer(np.random.default_rng(10**6 + seed).bytes(32), np.uint8))
    whole[:bits] ^= 1
    return np.packbits(whole).tobytes()


def make_fingerprint(
    rows: np.ndarray,
    pdq: bytes,
    quality: int = 100,
    places: Sequence[bytes] | None = None,
    thumb: np.ndarray | None = None,
) -> bytes:
    """Build a fingerprint. With `places` it is that of a query, with these hashes of regions, each in all turns."""
    more = {}
    if places is not None:
        hashes = np.frombuffer(b"".join(each * 8 for each in places), np.uint8).reshape(len(places), 8, 32)
        outlines = np.zeros((len(places) - 1, 8), np.float32)
        more = {"picture": np.zeros((4, 4, 3), np.uint8), "places": outlines, "place_hashes": hashes}
    return pack_print(
        Print(
            (4, 4),
            np.zeros((len(rows), 4), np.float32),
            rows,
            *assign_words(rows),
            pdq,
            quality,
            np.zeros((64, 64, 3), np.uint8) if thumb is None else thumb,
            **more,
        )
    )


def colour_fingerprint(*colours: tuple[int, int, int]) -> bytes:
    """Build the fingerprint of a picture that consists of stripes of these colours."""
    stripes = np.repeat(np.array(colours, np.uint8), 64 // len(colours) + 1, axis=0)[:64]
    return make_fingerprint(
        np.zeros((0, 128), np.uint8), random_hash(hash(colours) % 1000), thumb=np.repeat(stripes[:, None], 64, axis=1)
    )


def archived_fingerprint(seed: int, count: int = FEATURES) -> bytes:
    return make_fingerprint(random_descriptors(seed, count), random_hash(seed))


def query_fingerprint(seed: int) -> bytes:
    """Build the fingerprint of a query that contains the picture of `archived_fingerprint(seed)` as a part."""
    return make_fingerprint(alter_descriptors(random_descriptors(seed), seed), random_hash(seed + 5000))


def ids_of(found: Sequence[Candidate]) -> list[str]:
    return [candidate.image_id for candidate in found]


class FeatureSearchSuite:
    """A feature search returns candidates, best first, and never an image of another guild, generation or channel."""

    @pytest.fixture
    def archive(self) -> Archive:
        raise NotImplementedError

    @pytest.fixture
    def filled(self, archive: Archive) -> Archive:
        for number in range(30):
            archive.put(GUILD, GENERATION, str(number), str(number % 3), archived_fingerprint(number))
        return archive

    async def test_the_image_that_shares_most_features_comes_first(self, filled: Archive) -> None:
        for number in (0, 7, 29):
            (first, *_) = await filled.candidates(GUILD, GENERATION, query_fingerprint(number), top=5, channels=None)
            assert first.image_id == str(number)
            assert first.votes > 0
            assert first.fingerprint == hashlib.sha256(archived_fingerprint(number)).hexdigest()

    async def test_two_pieces_in_one_picture_are_both_found(self, filled: Archive) -> None:
        both = np.concatenate([alter_descriptors(random_descriptors(3)), alter_descriptors(random_descriptors(12))])
        found = await filled.candidates(GUILD, GENERATION, make_fingerprint(both, random_hash(999)), top=2, channels=None)
        assert sorted(ids_of(found)) == ["12", "3"]

    async def test_a_mirrored_picture_is_found_as_well(self, filled: Archive) -> None:
        query = make_fingerprint(mirror_descriptors(alter_descriptors(random_descriptors(5))), random_hash(999))
        (first, *_) = await filled.candidates(GUILD, GENERATION, query, top=3, channels=None)
        assert first.image_id == "5"

    async def test_a_near_hash_comes_before_any_number_of_features(self, filled: Archive) -> None:
        query = make_fingerprint(alter_descriptors(random_descriptors(4)), random_hash(8, bits=20))
        found = await filled.candidates(GUILD, GENERATION, query, top=4, channels=None)
        assert ids_of(found)[:2] == ["8", "4"]

    async def test_the_hash_of_any_region_of_a_query_counts(self, filled: Archive) -> None:
        nothing = np.zeros((0, 128), np.uint8)
        query = make_fingerprint(nothing, random_hash(999), places=[random_hash(999), random_hash(998), random_hash(6, bits=30)])
        assert ids_of(await filled.candidates(GUILD, GENERATION, query, top=4, channels=None)) == ["6"]

    @pytest.mark.parametrize(("quality", "bits", "near"), [(100, 40, True), (100, 44, False), (20, 10, True), (20, 30, False)])
    async def test_the_allowed_hash_distance_depends_on_the_quality(
        self, archive: Archive, quality: int, bits: int, near: bool
    ) -> None:
        nothing = np.zeros((0, 128), np.uint8)
        archive.put(GUILD, GENERATION, "1", "0", make_fingerprint(nothing, random_hash(1), quality))
        query = make_fingerprint(nothing, random_hash(1, bits=bits))
        assert ids_of(await archive.candidates(GUILD, GENERATION, query, top=4, channels=None)) == (["1"] if near else [])

    async def test_candidates_by_hash_leave_room_for_candidates_by_features(self, archive: Archive) -> None:
        for number in range(20):
            archive.put(GUILD, GENERATION, f"copy{number}", "0", make_fingerprint(random_descriptors(100 + number), random_hash(1)))
        archive.put(GUILD, GENERATION, "other", "0", archived_fingerprint(2))
        query = make_fingerprint(alter_descriptors(random_descriptors(2)), random_hash(1))
        found = ids_of(await archive.candidates(GUILD, GENERATION, query, top=8, channels=None))
        assert all(image_id.startswith("copy") for image_id in found[:4])
        assert found[4] == "other"

    async def test_there_are_never_more_than_asked_for(self, filled: Archive) -> None:
        several = np.concatenate([alter_descriptors(random_descriptors(number)) for number in range(10)])
        assert (
            len(await filled.candidates(GUILD, GENERATION, make_fingerprint(several, random_hash(999)), top=4, channels=None)) == 4
        )

    async def test_only_allowed_channels_are_searched(self, filled: Archive) -> None:
        assert ids_of(await filled.candidates(GUILD, GENERATION, query_fingerprint(7), top=1, channels=["1"])) == ["7"]
        for channels in (["0", "2"], [], ["nowhere"]):
            found = await filled.candidates(GUILD, GENERATION, query_fingerprint(7), top=30, channels=channels)
            assert "7" not in ids_of(found)
            assert all(str(int(image_id) % 3) in channels for image_id in ids_of(found))

    async def test_guilds_and_generations_are_separate(self, filled: Archive) -> None:
        for guild_id, generation in ((OTHER_GUILD, GENERATION), (GUILD, OTHER_GENERATION)):
            assert list(await filled.candidates(guild_id, generation, query_fingerprint(7), top=5, channels=None)) == []
            assert await filled.size(guild_id, generation) == 0
            assert dict(await filled.fingerprints(guild_id, generation, ["7"])) == {}
        filled.put(OTHER_GUILD, GENERATION, "70", "0", archived_fingerprint(7))
        assert ids_of(await filled.candidates(OTHER_GUILD, GENERATION, query_fingerprint(7), top=5, channels=None)) == ["70"]

    async def test_a_removed_image_is_never_found_again(self, filled: Archive) -> None:
        filled.remove("7")
        filled.put(GUILD, GENERATION, "7", "0", archived_fingerprint(7))
        assert "7" not in ids_of(await filled.candidates(GUILD, GENERATION, query_fingerprint(7), top=30, channels=None))
        assert await filled.size(GUILD, GENERATION) == 29
        assert dict(await filled.fingerprints(GUILD, GENERATION, ["7"])) == {}

    async def test_putting_the_same_again_changes_nothing_and_another_fingerprint_replaces(self, filled: Archive) -> None:
        filled.put(GUILD, GENERATION, "7", "1", archived_fingerprint(7))
        assert await filled.size(GUILD, GENERATION) == 30
        filled.put(GUILD, GENERATION, "7", "1", archived_fingerprint(77))
        assert await filled.size(GUILD, GENERATION) == 30
        assert ids_of(await filled.candidates(GUILD, GENERATION, query_fingerprint(77), top=1, channels=None)) == ["7"]
        assert "7" not in ids_of(await filled.candidates(GUILD, GENERATION, query_fingerprint(7), top=30, channels=None))[:1]

    async def test_a_part_is_found_by_its_colours(self, archive: Archive) -> None:
        archive.put(GUILD, GENERATION, "whole", "0", colour_fingerprint(RED, SAND, BLUE, WHITE))
        archive.put(GUILD, GENERATION, "half", "0", colour_fingerprint(RED, BLUE, BLUE, BLUE))
        archive.put(GUILD, GENERATION, "other", "1", colour_fingerprint(WHITE, BLUE))
        archive.put(OTHER_GUILD, GENERATION, "elsewhere", "0", colour_fingerprint(RED, SAND))

        async def found(top: int = 5, channels: Sequence[str] | None = None) -> list[str]:
            part = colour_fingerprint(RED, SAND)
            return ids_of(await archive.find_by_colour(GUILD, GENERATION, part, top=top, channels=channels))

        assert await found() == ["whole"]
        assert await found(channels=["0"]) == ["whole"]
        assert await found(channels=["1"]) == await found(top=0) == []
        archive.put(GUILD, GENERATION, "same", "1", colour_fingerprint(SAND, RED))
        assert await found() == ["same", "whole"]
        assert await found(top=1) == ["same"]
        archive.remove("whole")
        assert await found() == ["same"]
        assert list(await archive.find_by_colour("nowhere", GENERATION, colour_fingerprint(RED), top=5, channels=None)) == []

    async def test_fingerprints_are_looked_up_without_votes(self, filled: Archive) -> None:
        found = await filled.fingerprints(GUILD, GENERATION, ["3", "4", "never posted"])
        assert {image_id: candidate.votes for image_id, candidate in found.items()} == {"3": 0, "4": 0}
        assert found["3"].fingerprint == hashlib.sha256(archived_fingerprint(3)).hexdigest()

    async def test_an_image_without_features_is_indexed_too(self, archive: Archive) -> None:
        archive.put(GUILD, GENERATION, "1", "0", archived_fingerprint(1, count=0))
        assert await archive.size(GUILD, GENERATION) == 1
        assert ids_of(await archive.candidates(GUILD, GENERATION, query_fingerprint(1), top=5, channels=None)) == []

    async def test_an_invalid_fingerprint_is_refused_with_a_message(self, filled: Archive) -> None:
        with pytest.raises(MapSeekError, match="search again"):
            await filled.candidates(GUILD, GENERATION, b"rubbish", top=5, channels=None)
        with pytest.raises(MapSeekError, match="search again"):
            await filled.find_by_colour(GUILD, GENERATION, b"rubbish", top=5, channels=None)

    async def test_searches_and_additions_run_concurrently(self, filled: Archive) -> None:
        async def ask(number: int) -> list[str]:
            return ids_of(await filled.candidates(GUILD, GENERATION, query_fingerprint(number), top=1, channels=None))

        searches = [asyncio.create_task(ask(number)) for number in range(20)]
        for number in range(200, 230):
            filled.put(GUILD, GENERATION, str(number), "0", archived_fingerprint(number))
            await asyncio.sleep(0)
        assert await asyncio.gather(*searches) == [[str(number)] for number in range(20)]
        assert await ask(229) == ["229"]

    async def test_a_hidden_image_is_not_found_until_it_is_shown_again(self, filled: Archive) -> None:
        async def is_found(top: int = 3) -> list[bool]:
            by_features = await filled.candidates(GUILD, GENERATION, query_fingerprint(7), top=top, channels=["1"])
            near = make_fingerprint(np.zeros((0, 128), np.uint8), random_hash(7, bits=10))
            by_hash = await filled.candidates(GUILD, GENERATION, near, top=top, channels=None)
            known = await filled.fingerprints(GUILD, GENERATION, ["7"])
            return ["7" in ids_of(by_features), "7" in ids_of(by_hash), "7" in known]

        for change, turn, found in (
            ("hide", 2, False),
            ("show", 1, False),
            ("show", 2, True),
            ("hide", 1, True),
            ("hide", 3, False),
        ):
            getattr(filled, change)("7", turn)
            assert await is_found() == [found] * 3
        assert await filled.size(GUILD, GENERATION) == 30

    async def test_an_image_may_be_hidden_before_it_comes(self, archive: Archive) -> None:
        archive.hide("2", 1)
        for number in range(3):
            archive.put(GUILD, GENERATION, str(number), "0", archived_fingerprint(number))
        archive.put(GUILD, GENERATION, "2", "0", archived_fingerprint(2))
        found = await archive.candidates(GUILD, GENERATION, query_fingerprint(2), top=3, channels=None)
        assert "2" not in ids_of(found)
        archive.show("2", 1)
        assert ids_of(await archive.candidates(GUILD, GENERATION, query_fingerprint(2), top=1, channels=None)) == ["2"]

    async def test_a_hidden_image_takes_no_place_of_another(self, archive: Archive) -> None:
        for number in range(40):
            archive.put(GUILD, GENERATION, str(number), "0", make_fingerprint(random_descriptors(1), random_hash(1)))
        for number in range(39):
            archive.hide(str(number), 1)
        found = await archive.candidates(GUILD, GENERATION, query_fingerprint(1), top=1, channels=None)
        assert ids_of(found) == ["39"]

    async def test_a_hidden_image_is_not_found_by_its_colours(self, archive: Archive) -> None:
        for number in range(5):
            archive.put(GUILD, GENERATION, str(number), "0", colour_fingerprint(RED, SAND))
        for number in range(4):
            archive.hide(str(number), 1)
        for channels in (None, ["0"]):
            found = await archive.find_by_colour(GUILD, GENERATION, colour_fingerprint(RED), top=1, channels=channels)
            assert ids_of(found) == ["4"]
