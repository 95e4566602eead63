"""The behaviour of every VectorSearch. A test module subclasses VectorSearchSuite and provides the fixture `archive`."""

import asyncio
import itertools
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
import pytest

from contracts.errors import MapSeekError
from contracts.ports import Neighbour, VectorSearch

DIMENSIONS = 32
GUILD, OTHER_GUILD = "700", "701"
GENERATION, OTHER_GENERATION = "g1", "g2"


class Archive(VectorSearch, Protocol):
    """A VectorSearch that tests can fill."""

    def add(self, guild_id: str, generation: str, image_id: str, channel_id: str, vector: bytes) -> None: ...

    def hide(self, image_id: str, turn: int) -> None: ...

    def show(self, image_id: str, turn: int) -> None: ...

    def remove(self, image_id: str) -> None: ...


def random_vectors(count: int, seed: int = 0, dimensions: int = DIMENSIONS) -> np.ndarray:
    """Return random unit vectors, (count, dimensions) float32."""
    rows = np.random.default_rng(seed).normal(size=(count, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")


def vector_at_cosine(cosine: float) -> bytes:
    """Return a unit vector with this cosine to `vector_at_cosine(1)`."""
    vector = np.zeros(DIMENSIONS, "<f4")
    vector[0], vector[1] = cosine, np.sqrt(1 - cosine**2)
    return vector.tobytes()


def ids_of(neighbours: Sequence[Neighbour]) -> list[str]:
    return [neighbour.image_id for neighbour in neighbours]


class VectorSearchSuite:
    """A vector search returns the nearest images, best first, and never an image of another guild, generation or channel."""

    @pytest.fixture
    def archive(self) -> Archive:
        raise NotImplementedError

    async def test_the_nearest_come_first_with_their_cosines(self, archive: Archive) -> None:
        for image_id, cosine in [("10", 0.5), ("11", 0.9), ("12", -0.3), ("13", 1.0), ("14", 0.7)]:
            archive.add(GUILD, GENERATION, image_id, "1", vector_at_cosine(cosine))
        found = await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=4, channels=None)
        assert ids_of(found) == ["13", "11", "14", "10"]
        assert [neighbour.score for neighbour in found] == pytest.approx([1, 0.9, 0.7, 0.5], abs=1e-3)
        assert all(neighbour.score <= 1 for neighbour in found)

    async def test_there_are_never_more_than_asked_for_nor_than_there_are(self, archive: Archive) -> None:
        for number, vector in enumerate(random_vectors(5)):
            archive.add(GUILD, GENERATION, str(number), "1", vector.tobytes())
        assert [
            len(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=top, channels=None)) for top in (1, 3, 5, 100)
        ] == [
            1,
            3,
            5,
            5,
        ]

    @pytest.mark.parametrize("guild_id", [GUILD, OTHER_GUILD])
    async def test_a_guild_that_is_empty_or_unknown_has_no_neighbours(self, archive: Archive, guild_id: str) -> None:
        archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(1))
        archive.remove("10")
        assert list(await archive.search(guild_id, GENERATION, vector_at_cosine(1), top=3, channels=None)) == []

    async def test_a_guild_never_sees_another(self, archive: Archive) -> None:
        archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(0.2))
        archive.add(OTHER_GUILD, GENERATION, "11", "1", vector_at_cosine(1))
        assert ids_of(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=None)) == ["10"]

    async def test_a_generation_never_sees_another(self, archive: Archive) -> None:
        archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(0.2))
        archive.add(GUILD, OTHER_GENERATION, "11", "1", vector_at_cosine(1))
        assert ids_of(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=None)) == ["10"]

    @pytest.mark.parametrize(
        ("channels", "expected"),
        [(None, ["11", "12", "13"]), ({"1"}, ["11"]), (["3", "2"], ["12", "13"]), ((), []), (["9"], []), (["9", "2"], ["12"])],
    )
    async def test_only_the_named_channels_are_searched(
        self, archive: Archive, channels: Collection[str] | None, expected: list[str]
    ) -> None:
        for image_id, channel_id, cosine in [("11", "1", 0.9), ("12", "2", 0.8), ("13", "3", 0.7)]:
            archive.add(GUILD, GENERATION, image_id, channel_id, vector_at_cosine(cosine))
        assert ids_of(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=10, channels=channels)) == expected

    async def test_pictures_that_are_equally_near_come_in_order_of_their_ids(self, archive: Archive) -> None:
        for image_id in ("15", "12", "19", "11", "17"):
            archive.add(GUILD, GENERATION, image_id, "1", vector_at_cosine(0.9))
        assert ids_of(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=None)) == ["11", "12", "15"]

    async def test_adding_again_changes_nothing(self, archive: Archive) -> None:
        for _ in range(3):
            archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(0.9))
        assert ids_of(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=None)) == ["10"]

    async def test_a_new_vector_and_channel_take_the_place_of_the_old(self, archive: Archive) -> None:
        archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(1))
        archive.add(GUILD, GENERATION, "11", "1", vector_at_cosine(0.5))
        archive.add(GUILD, GENERATION, "10", "2", vector_at_cosine(0.1))
        found = await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=None)
        assert ids_of(found) == ["11", "10"]
        assert found[1].score == pytest.approx(0.1, abs=1e-3)
        assert ids_of(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=["1"])) == ["11"]

    async def test_a_removed_image_is_gone_everywhere_and_stays_out(self, archive: Archive) -> None:
        for guild, generation in [(GUILD, GENERATION), (GUILD, OTHER_GENERATION), (OTHER_GUILD, GENERATION)]:
            archive.add(guild, generation, "10", "1", vector_at_cosine(1))
            archive.add(guild, generation, "11", "1", vector_at_cosine(0.5))
        archive.remove("10")
        archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(1))
        for guild, generation in [(GUILD, GENERATION), (GUILD, OTHER_GENERATION), (OTHER_GUILD, GENERATION)]:
            assert ids_of(await archive.search(guild, generation, vector_at_cosine(1), top=3, channels=None)) == ["11"]

    async def test_an_image_removed_before_it_came_never_comes(self, archive: Archive) -> None:
        archive.remove("10")
        archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(1))
        assert list(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=None)) == []

    async def test_a_removed_image_does_not_displace_another(self, archive: Archive) -> None:
        for image_id, cosine in [("10", -0.5), ("11", 0.9), ("12", -0.7)]:
            archive.add(GUILD, GENERATION, image_id, "1", vector_at_cosine(cosine))
        archive.remove("11")
        for channels in (None, ["1"]):
            assert ids_of(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=1, channels=channels)) == ["10"]

    async def test_an_image_in_the_slot_of_a_removed_one_keeps_its_own_channel(self, archive: Archive) -> None:
        archive.add(GUILD, GENERATION, "10", "public", vector_at_cosine(1))
        archive.remove("10")
        archive.add(GUILD, GENERATION, "11", "secret", vector_at_cosine(1))
        assert list(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=["public"])) == []
        assert ids_of(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=["secret"])) == ["11"]

    async def test_similar_images_exclude_the_image_itself_and_come_best_first(self, archive: Archive) -> None:
        for image_id, cosine in [("10", 1.0), ("11", 0.92), ("12", 0.99), ("13", 0.5), ("14", 0.95)]:
            archive.add(GUILD, GENERATION, image_id, "1", vector_at_cosine(cosine))
        found = await archive.find_similar(GUILD, GENERATION, "10", at_least=0.9, top=10, channels=None)
        assert ids_of(found) == ["12", "14", "11"]
        assert [neighbour.score for neighbour in found] == pytest.approx([0.99, 0.95, 0.92], abs=1e-3)
        assert ids_of(await archive.find_similar(GUILD, GENERATION, "10", at_least=0.94, top=10, channels=None)) == ["12", "14"]
        assert ids_of(await archive.find_similar(GUILD, GENERATION, "10", at_least=0.9, top=2, channels=None)) == ["12", "14"]
        assert list(await archive.find_similar(GUILD, GENERATION, "13", at_least=0.9, top=2, channels=None)) == []

    async def test_all_similar_images_are_returned(self, archive: Archive) -> None:
        for number in range(120):
            archive.add(GUILD, GENERATION, f"b{number:03}", "1", vector_at_cosine(0.8))
            archive.add(GUILD, GENERATION, f"a{number:03}", "1", random_vectors(120)[number].tobytes())
        copies = [f"b{number:03}" for number in range(120)]
        for image_id, top in [("b000", 200), ("b119", 200), ("b060", 119), ("b060", 20), ("b119", 1)]:
            expected = [copy for copy in copies if copy != image_id][:top]
            assert (
                ids_of(await archive.find_similar(GUILD, GENERATION, image_id, at_least=0.99, top=top, channels=None)) == expected
            )

    @pytest.mark.parametrize(("channels", "expected"), [(None, ["11", "12"]), (["1"], ["11"]), (["2", "9"], ["12"]), ((), [])])
    async def test_similar_images_come_only_from_the_named_channels(
        self, archive: Archive, channels: Collection[str] | None, expected: list[str]
    ) -> None:
        for image_id, channel_id, cosine in [("10", "3", 1.0), ("11", "1", 0.98), ("12", "2", 0.97)]:
            archive.add(GUILD, GENERATION, image_id, channel_id, vector_at_cosine(cosine))
        found = await archive.find_similar(GUILD, GENERATION, "10", at_least=0.9, top=10, channels=channels)
        assert [image_id for image_id in ids_of(found) if image_id != "10"] == ids_of(found) == expected

    async def test_similar_images_are_of_the_same_guild_and_generation(self, archive: Archive) -> None:
        for guild, generation, image_id in [
            (GUILD, GENERATION, "10"),
            (OTHER_GUILD, GENERATION, "11"),
            (GUILD, OTHER_GENERATION, "12"),
        ]:
            archive.add(guild, generation, image_id, "1", vector_at_cosine(1))
        for guild, generation, image_id in [
            (GUILD, GENERATION, "10"),
            (GUILD, GENERATION, "11"),
            (GUILD, OTHER_GENERATION, "10"),
            ("702", GENERATION, "10"),
        ]:
            assert list(await archive.find_similar(guild, generation, image_id, at_least=0.5, top=10, channels=None)) == []

    async def test_a_removed_image_is_similar_to_no_image(self, archive: Archive) -> None:
        for image_id in ("10", "11", "12"):
            archive.add(GUILD, GENERATION, image_id, "1", vector_at_cosine(1))
        archive.remove("11")
        assert list(await archive.find_similar(GUILD, GENERATION, "11", at_least=0.5, top=10, channels=None)) == []
        assert ids_of(await archive.find_similar(GUILD, GENERATION, "10", at_least=0.5, top=10, channels=None)) == ["12"]

    async def test_a_vector_of_other_dimensions_is_refused_in_one_sentence(self, archive: Archive) -> None:
        archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(1))
        short = random_vectors(1, dimensions=DIMENSIONS // 2)[0].tobytes()
        with pytest.raises(MapSeekError, match=f"{DIMENSIONS} dimensions, not {DIMENSIONS // 2}"):
            archive.add(GUILD, GENERATION, "11", "1", short)
        with pytest.raises(MapSeekError, match=f"{DIMENSIONS} dimensions, not {DIMENSIONS // 2}"):
            await archive.search(GUILD, GENERATION, short, top=3, channels=None)
        archive.add(GUILD, OTHER_GENERATION, "10", "1", short)

    @pytest.mark.parametrize(
        "vector",
        [
            b"",
            b"abc",
            b"\0" * 4 * DIMENSIONS,
            np.full(DIMENSIONS, np.nan, "<f4").tobytes(),
            np.full(DIMENSIONS, np.inf, "<f4").tobytes(),
        ],
        ids=["empty", "no float32", "zero", "nan", "infinite"],
    )
    async def test_a_vector_that_is_not_a_unit_vector_is_refused(self, archive: Archive, vector: bytes) -> None:
        archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(1))
        with pytest.raises(MapSeekError):
            archive.add(GUILD, GENERATION, "11", "1", vector)
        with pytest.raises(MapSeekError):
            await archive.search(GUILD, GENERATION, vector, top=3, channels=None)
        assert ids_of(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=None)) == ["10"]

    async def test_at_least_99_of_100_true_neighbours_are_found_whatever_the_filter(self, archive: Archive) -> None:
        rows, queries = random_vectors(3000), random_vectors(40, seed=2)
        for number, vector in enumerate(rows):
            archive.add(GUILD, GENERATION, str(number), str(number % 50), vector.tobytes())
        for kept in (1, 10, 25, 50):
            channels = [str(channel) for channel in range(kept)]
            hits = 0
            for query in queries:
                found = {
                    int(image_id)
                    for image_id in ids_of(await archive.search(GUILD, GENERATION, query.tobytes(), top=10, channels=channels))
                }
                allowed = [number for number in range(3000) if number % 50 < kept]
                assert found <= set(allowed)
                hits += len(found & set(sorted(allowed, key=(-rows @ query).__getitem__)[:10]))
            assert hits >= 0.99 * 10 * len(queries), f"{hits} of {10 * len(queries)} in {kept} of 50 channels"

    async def test_the_first_of_many_equal_pictures_is_found_and_hides_no_other(self, archive: Archive) -> None:
        rows = random_vectors(400)
        for number in range(400):
            archive.add(GUILD, GENERATION, f"b{number:03}", "1", vector_at_cosine(0.8))
            archive.add(GUILD, GENERATION, f"a{number:03}", "1", rows[number].tobytes())
        for number in range(0, 400, 20):
            found = await archive.search(GUILD, GENERATION, rows[number].tobytes(), top=1, channels=None)
            assert ids_of(found) == [f"a{number:03}"]
        assert ids_of(await archive.search(GUILD, GENERATION, vector_at_cosine(0.8), top=3, channels=None)) == [
            "b000",
            "b001",
            "b002",
        ]

    async def test_concurrent_searches_and_changes_do_not_disturb_each_other(self, archive: Archive) -> None:
        rows = random_vectors(1200)
        for number in range(400):
            archive.add(GUILD, GENERATION, f"{number:04}", "open", rows[number].tobytes())

        async def ask(number: int) -> list[str]:
            return ids_of(await archive.search(GUILD, GENERATION, rows[number].tobytes(), top=5, channels=["open"]))

        for step in range(400):
            asked = asyncio.gather(*(ask(number) for number in range(390, 394)))
            archive.remove(f"{step:04}") if step < 380 else None
            archive.add(GUILD, GENERATION, f"{400 + step:04}", "closed", rows[400 + step].tobytes())
            await asyncio.sleep(0)
            for number, found in zip(range(390, 394), await asked, strict=True):
                assert found[0] == f"{number:04}"
                assert all(int(image_id) < 400 for image_id in found)

    async def test_a_hidden_image_is_not_found_until_it_is_shown_again(self, archive: Archive) -> None:
        for image_id, cosine in [("10", 1.0), ("11", 0.9)]:
            archive.add(GUILD, GENERATION, image_id, "1", vector_at_cosine(cosine))
        for change, turn, seen in (("hide", 1, ["11"]), ("show", 1, ["10", "11"]), ("show", 2, ["10", "11"]), ("hide", 3, ["11"])):
            getattr(archive, change)("10", turn)
            for channels in (None, ["1"]):
                found = await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=5, channels=channels)
                assert ids_of(found) == seen
                alike = await archive.find_similar(GUILD, GENERATION, "11", at_least=0.5, top=5, channels=channels)
                assert ids_of(alike) == [image_id for image_id in seen if image_id != "11"]
                of_it = await archive.find_similar(GUILD, GENERATION, "10", at_least=0.5, top=5, channels=channels)
                assert ids_of(of_it) == (["11"] if "10" in seen else [])

    @pytest.mark.parametrize("order", [*itertools.permutations(range(4))], ids=lambda order: "".join(map(str, order)))
    async def test_what_happens_to_an_image_may_be_applied_in_any_order(self, archive: Archive, order: tuple[int, ...]) -> None:
        changes = (
            lambda: archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(1)),
            lambda: archive.hide("10", 1),
            lambda: archive.show("10", 1),
            lambda: archive.hide("10", 2),
        )
        for number in order:
            changes[number]()
        assert list(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=None)) == []
        archive.show("10", 2)
        assert ids_of(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=None)) == ["10"]

    async def test_hidden_images_take_no_place_of_others(self, archive: Archive) -> None:
        """The three hundred nearest are hidden: what is left is found all the same, however few are asked for."""
        rows = random_vectors(1200)
        for number, row in enumerate(rows):
            row[0] = 3 if number < 300 else 0
            archive.add(GUILD, GENERATION, f"{number:04}", str(number % 2), row.tobytes())
        for number in range(300):
            archive.hide(f"{number:04}", 1)
        for channels, step in ((None, 1), (["0"], 2)):
            found = await archive.search(GUILD, GENERATION, rows[0].tobytes(), top=5, channels=channels)
            rest = range(300, 1200, step)
            cosines = {number: float(rows[0] @ rows[number] / np.linalg.norm(rows[number])) for number in rest}
            assert ids_of(found) == [f"{number:04}" for number in sorted(cosines, key=lambda number: -cosines[number])[:5]]

    async def test_an_image_that_was_removed_is_never_shown_again(self, archive: Archive) -> None:
        archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(1))
        archive.hide("10", 1)
        archive.remove("10")
        archive.show("10", 2)
        archive.add(GUILD, GENERATION, "10", "1", vector_at_cosine(1))
        assert list(await archive.search(GUILD, GENERATION, vector_at_cosine(1), top=3, channels=None)) == []
