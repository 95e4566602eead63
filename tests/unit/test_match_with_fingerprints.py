"""The stage match with fingerprints: what is compared, and which pieces are found."""

import hashlib
from typing import Any

import numpy as np
import pytest

from contracts.events import Evidence, Filters, Quad, SearchMatched
from contracts.ports import Neighbour, PrintComparison
from infra.vectors.index import EmbeddedIndex
from stages.match import MAX_POSTS, Deps, handle
from stages.matching import MAX_BY_COLOURS, MAX_BY_FEATURES, MAX_BY_VECTOR, ArchiveFingerprints, fuse_neighbours
from tests.support.fakes import FixedComparer, MemoryBlobs, MemoryCatalogue, MemoryFeatures
from tests.unit.test_match import embedded, in_direction

FILE, ANOTHER_FILE = "f" * 64, "e" * 64
LEFT: Quad = (0, 0, 0.5, 0, 0.5, 1, 0, 1)
RIGHT: Quad = (0.5, 0, 1, 0, 1, 1, 0.5, 1)


class Guild:
    """Guild 7 in generation g1, with fixed results of the comparison of its pictures with the query."""

    def __init__(self) -> None:
        self.index, self.catalogue = EmbeddedIndex(), MemoryCatalogue()
        self.features, self.comparing = MemoryFeatures(), FixedComparer()
        self.archive, self.questions = MemoryBlobs(), MemoryBlobs()

    async def post(
        self,
        image_id: str,
        probability: float | None = None,
        *,
        degrees: float = 90,
        shared: bool = True,
        data: str | None = None,
        channel: str = "1",
        repost_of: str | None = None,
        file: str | None = None,
        day: int = 1,
        **evidence: Any,
    ) -> None:
        """Archive an image that is so many degrees from the query. Without a probability its fingerprint is unreadable."""
        self.index.add("7", "g1", image_id, channel, in_direction(degrees))
        content = (data or image_id).encode()
        self.features.add("7", "g1", image_id, await self.archive.put(content), channel)
        if shared:
            self.features.shared.append(image_id)
        if probability is not None:
            self.comparing.results[content] = PrintComparison(probability, Evidence.model_validate({"by": "points"} | evidence))
        moment = f"2026-01-{day:02}T12:00:00+00:00"
        metadata = {"user_id": "5", "guild_id": "7", "channel_id": channel, "upload_timestamp": moment}
        document = {"metadata": metadata} | ({"repost_of": {"image_id": repost_of}} if repost_of else {})
        await self.catalogue.merge(image_id, document | ({"original": {"blob": file, "size": 9}} if file else {}))

    async def ask(
        self, *, views: tuple[float, ...] = (), fingerprint: bool = True, file: str | None = None, **more: Any
    ) -> SearchMatched:
        asked = await self.questions.put(b"question")
        event = embedded(**more).model_copy(
            update={
                "fingerprint": asked if fingerprint else hashlib.sha256(b"lost").hexdigest(),
                "method": "f1",
                "views": tuple(in_direction(degrees) for degrees in views),
                "file": file,
            }
        )
        prints = ArchiveFingerprints(self.features, self.comparing, self.archive)
        (fact,) = await handle(event, Deps(self.index, self.catalogue, self.questions, prints))
        assert isinstance(fact, SearchMatched)
        return fact


@pytest.fixture
def guild() -> Guild:
    return Guild()


def piece_ids(fact: SearchMatched) -> list[tuple[str, ...]]:
    return [(match.image_id, *match.posts) for match in fact.matches]


async def test_the_most_probable_image_wins_over_one_with_a_nearer_vector(guild: Guild) -> None:
    await guild.post("near", 0.12, degrees=10)
    await guild.post("right", 0.98, points=143, angle=True)
    fact = await guild.ask()
    assert (fact.verdict, piece_ids(fact)) == ("match", [("right",), ("near",)])
    assert [match.score for match in fact.matches] == [0.98, 0.12]
    assert [match.evidence for match in fact.matches] == [Evidence(by="points", points=143, angle=True), Evidence(by="vector")]


@pytest.mark.parametrize(("probability", "verdict"), [(0.9, "match"), (0.89, "possible"), (0.15, "possible"), (0.14, "none")])
async def test_the_verdict_follows_the_probability(guild: Guild, probability: float, verdict: str) -> None:
    await guild.post("10", probability)
    assert (await guild.ask()).verdict == verdict


@pytest.mark.parametrize("by", ["points", "vector"])
async def test_a_near_vector_alone_never_proves_a_match(guild: Guild, by: str) -> None:
    await guild.post("10", 0.12, degrees=0, by=by)
    fact = await guild.ask()
    assert (fact.verdict, fact.matches[0].evidence) == ("possible", Evidence(by="vector"))


async def test_a_near_vector_is_not_shown_if_the_comparison_rules_it_out(guild: Guild) -> None:
    await guild.post("10", 0.09, degrees=0)
    assert ((await guild.ask()).verdict, piece_ids(await guild.ask())) == ("none", [])


async def test_an_image_without_a_fingerprint_is_judged_by_its_vector(guild: Guild) -> None:
    await guild.post("other", 0.02)
    guild.index.add("7", "g1", "new", "1", in_direction(5))
    fact = await guild.ask()
    assert (fact.verdict, piece_ids(fact), fact.matches[0].evidence) == ("match", [("new",)], None)


async def test_a_generation_without_fingerprints_answers_by_vectors(guild: Guild) -> None:
    for number in range(3):
        guild.index.add("7", "g1", f"{number}", "1", in_direction(20 * number))
    assert piece_ids(await guild.ask()) == [("0", "1"), ("2",)]


async def test_a_lost_fingerprint_is_no_error(guild: Guild) -> None:
    await guild.post("lost", degrees=5)
    guild.archive.blobs.clear()
    await guild.post("unreadable", degrees=-40)
    await guild.post("far", degrees=80)
    assert piece_ids(await guild.ask()) == [("lost",), ("unreadable",)]
    assert piece_ids(await guild.ask(fingerprint=False)) == [("lost",), ("unreadable",)]


async def test_several_maps_in_one_query_are_separate_pieces(guild: Guild) -> None:
    await guild.post("left", 0.97, place=LEFT, degrees=60)
    await guild.post("copy", 0.95, place=LEFT, degrees=62)
    await guild.post("right", 0.96, place=RIGHT, degrees=61)
    assert piece_ids(await guild.ask()) == [("left", "copy"), ("right",)]


async def test_posts_that_were_not_compared_are_found_by_vectors_and_links(guild: Guild) -> None:
    await guild.post("first", shared=False, degrees=-80)
    await guild.post("hidden", shared=False, degrees=-85, channel="2")
    await guild.post("found", 0.97, repost_of="first", degrees=70)
    await guild.post("alike", shared=False, degrees=72)
    assert piece_ids(await guild.ask(channels=("1",))) == [("found", "first", "alike")]
    await guild.catalogue.merge("found", {"repost_of": {"image_id": "hidden"}})
    assert piece_ids(await guild.ask(channels=("1",))) == [("found", "alike")]


async def test_a_hidden_image_is_neither_found_nor_the_first_post(guild: Guild) -> None:
    await guild.post("first", shared=False, degrees=-80)
    await guild.post("found", 0.97, repost_of="first", degrees=70)
    assert piece_ids(await guild.ask()) == [("found", "first")]
    await guild.catalogue.merge("first", {"visibility": {"turn": 1, "hidden": True, "spoiler": False}})
    assert piece_ids(await guild.ask()) == [("found",)]


async def test_regions_find_images_that_the_whole_picture_does_not(guild: Guild) -> None:
    await guild.post("panel", 0.95, shared=False, degrees=150)
    for number in range(100):
        await guild.post(f"{number:03}", 0.01, shared=False, degrees=number / 10)
    assert piece_ids(await guild.ask(views=(151, -120)))[0] == ("panel",)


async def test_a_part_is_found_by_its_colours(guild: Guild) -> None:
    await guild.post("whole", 0.95, shared=False, degrees=150)
    for number in range(100):
        await guild.post(f"{number:03}", 0.01, degrees=number / 10)
    assert piece_ids(await guild.ask()) == []
    guild.features.alike = ["000", "whole"]
    assert piece_ids(await guild.ask()) == [("whole",)]
    assert piece_ids(await guild.ask(filters=Filters(author_id="6"))) == []


async def test_filters_and_channels_apply_to_candidates_and_neighbours(guild: Guild) -> None:
    for image_id, channel, shared in (("10", "1", True), ("11", "2", True), ("12", "1", False), ("13", "2", False)):
        await guild.post(image_id, 0.95, channel=channel, shared=shared, degrees=170 + int(image_id), by="hash")
    assert piece_ids(await guild.ask(channels=("1",))) == [("12", "10")]
    assert piece_ids(await guild.ask(channels=())) == []
    assert piece_ids(await guild.ask(filters=Filters(author_id="6"))) == []
    await guild.catalogue.merge("13", {"metadata": {**guild.catalogue.documents["13"]["metadata"], "user_id": "6"}})
    assert piece_ids(await guild.ask(filters=Filters(author_id="6"))) == [("13",)]


async def test_comparisons_are_limited_and_each_fingerprint_is_compared_once(guild: Guild) -> None:
    for number in range(30):
        await guild.post(f"a{number}", 0.99, data="popular", degrees=1)
    for number in range(100):
        await guild.post(f"b{number}", 0.01, degrees=100 + number / 10)
        await guild.post(f"c{number}", 0.01, shared=False, degrees=-30)
        await guild.post(f"d{number}", 0.01, shared=False, degrees=150)
    guild.features.alike = ["a0", *(f"d{number}" for number in range(100))]
    fact = await guild.ask()
    assert guild.comparing.compared[0] == b"popular"
    assert len(guild.comparing.compared) == MAX_BY_FEATURES + MAX_BY_COLOURS + MAX_BY_VECTOR
    assert len(fact.matches[0].posts) == 29


async def test_known_cosines_are_passed_to_the_comparison(guild: Guild) -> None:
    await guild.post("10", 0.95, degrees=60)
    await guild.ask()
    assert guild.comparing.similarities == {b"10": pytest.approx(np.cos(np.radians(60)), abs=1e-3)}


def test_neighbours_of_several_vectors_take_turns() -> None:
    lists = [[Neighbour("a", 0.9), Neighbour("b", 0.8), Neighbour("d", 0.7)], [Neighbour("c", 0.5), Neighbour("a", 0.95)]]
    assert list(fuse_neighbours(lists).items()) == [("a", 0.95), ("c", 0.5), ("b", 0.8), ("d", 0.7)]


async def test_the_very_same_file_comes_first_and_is_one_piece(guild: Guild) -> None:
    await guild.post("a", 0.99, place=LEFT, day=1)
    await guild.post("later", file=FILE, shared=False, degrees=120, day=3)
    await guild.post("first", file=FILE, shared=False, degrees=150, day=2)
    fact = await guild.ask(file=FILE)
    assert (fact.verdict, piece_ids(fact)) == ("match", [("first", "later"), ("a",)])
    assert (fact.matches[0].score, fact.matches[0].evidence) == (1.0, Evidence(by="file"))
    assert piece_ids(await guild.ask(file=ANOTHER_FILE)) == [("a",)]


@pytest.mark.parametrize("fingerprint", [True, False])
async def test_blank_pictures_are_one_piece_only_if_they_are_one_file(guild: Guild, fingerprint: bool) -> None:
    for image_id, file in (("1", ANOTHER_FILE), ("2", FILE), ("3", None), ("4", FILE)):
        await guild.post(image_id, 0.0, by="vector", file=file, degrees=0)
    fact = await guild.ask(file=FILE, fingerprint=fingerprint)
    assert piece_ids(fact)[0] == ("2", "4")
    assert not {"2", "4"} & {post for piece in piece_ids(fact)[1:] for post in piece}


async def test_the_same_file_brings_the_verified_posts_of_its_piece(guild: Guild) -> None:
    await guild.post("copy", 0.99, by="hash", degrees=50, day=1)
    await guild.post("file", 0.98, by="hash", file=FILE, degrees=0, repost_of="first", day=3)
    await guild.post("file-again", 0.98, by="hash", file=FILE, degrees=0, day=4)
    await guild.post("first", shared=False, degrees=90, day=2)
    await guild.post("alike", shared=False, degrees=-20, day=2)
    await guild.post("other", 0.5, degrees=100)
    assert piece_ids(await guild.ask(file=FILE)) == [("file", "file-again", "copy", "first", "alike"), ("other",)]


async def test_a_post_with_the_same_file_that_has_no_fingerprint_yet_joins_the_piece(guild: Guild) -> None:
    await guild.post("first", 0.97, by="hash", degrees=10, day=1)
    await guild.post("alike", shared=False, degrees=-5, day=2)
    await guild.post("part", 0.96, place=LEFT, degrees=90, day=2)
    moment = "2026-01-09T12:00:00+00:00"
    metadata = {"user_id": "5", "guild_id": "7", "channel_id": "1", "upload_timestamp": moment}
    await guild.catalogue.merge("new", {"metadata": metadata, "original": {"blob": FILE, "size": 9}})
    assert piece_ids(await guild.ask(file=FILE)) == [("new", "first", "alike"), ("part",)]


async def test_filters_channels_and_the_number_of_pieces_apply_to_the_same_file(guild: Guild) -> None:
    for image_id, channel in (("10", "1"), ("11", "2")):
        await guild.post(image_id, file=FILE, shared=False, channel=channel)
    await guild.post("12", 0.95, place=LEFT)
    assert piece_ids(await guild.ask(file=FILE, channels=("1",), top=1)) == [("10",)]
    assert piece_ids(await guild.ask(file=FILE, channels=("2",))) == [("11",)]
    assert piece_ids(await guild.ask(file=FILE, channels=())) == []
    assert piece_ids(await guild.ask(file=FILE, filters=Filters(author_id="6"))) == []
    assert piece_ids(await guild.ask(file=FILE, guild="8")) == []
    await guild.catalogue.merge("13", {"original": {"blob": FILE, "size": 9}})
    assert piece_ids(await guild.ask(file=FILE)) == [("10", "11"), ("12",)]


async def test_a_file_that_was_posted_very_often_has_some_of_its_posts(guild: Guild) -> None:
    for number in range(MAX_POSTS + 30):
        await guild.post(f"{number:03}", 0.0, by="vector", file=FILE, degrees=0)
    (piece,) = piece_ids(await guild.ask(file=FILE, fingerprint=False))
    assert (piece[0], len(piece)) == ("000", MAX_POSTS + 1)
