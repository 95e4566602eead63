"""The link stage on the real embedded index: which images are reposts, and of which post."""

import numpy as np
import pytest

from contracts.errors import Retry
from contracts.events import Calibration, ImageEmbedded, ImageReposted
from infra.vectors.index import EmbeddedIndex
from stages.link import FEW, STAGE, Deps, handle
from stages.persist import fields_of
from tests.suites.fakes import MemoryCatalogue

MATCHING = Calibration(match_at=0.9, possible_at=0.6)


def direction(degrees: float) -> bytes:
    """Vectors of up to 25 degrees apart match."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], "<f4").tobytes()


class Guild:
    """An archive to post in; the day of posting is the day of January."""

    def __init__(self) -> None:
        self.index = EmbeddedIndex()
        self.catalogue = MemoryCatalogue()
        self.serves = True

    def post(self, image_id: str, *, day: int, degrees: float = 0, message_id: str | None = None, guild: str = "7") -> None:
        self.index.add(guild, "g1", image_id, "70", direction(degrees))
        self.catalogue.documents[image_id] = {
            "discord_message_id": message_id or f"m{image_id}",
            "metadata": {"upload_timestamp": f"2026-01-{day:02}T12:00:00+00:00"},
        }

    async def link(self, image_id: str, degrees: float = 0, generation: str = "g1") -> list[ImageReposted]:
        event = ImageEmbedded(
            guild_id="7",
            channel_id="80",
            thread_of="8",
            image_id=image_id,
            generation=generation,
            vector=direction(degrees),
        )
        return [fact for fact in await handle(event, self.deps) if isinstance(fact, ImageReposted)]

    @property
    def deps(self) -> Deps:
        return Deps(self.index, self.catalogue, MATCHING, lambda: self.serves)


@pytest.fixture
def guild() -> Guild:
    return Guild()


async def test_a_later_post_of_a_piece_is_a_repost_of_the_first(guild: Guild) -> None:
    guild.post("10", day=3, degrees=2)
    guild.post("11", day=2, degrees=20)
    guild.post("12", day=5, degrees=1)
    guild.post("13", day=1, degrees=60)
    guild.post("20", day=4)
    score = round(float(np.cos(np.radians(20))), 6)
    (fact,) = await guild.link("20")
    assert fact.model_copy(update={"score": score}) == ImageReposted(
        guild_id="7", channel_id="80", thread_of="8", image_id="20", generation="g1", same_as="11", score=score
    )
    assert fact.score == pytest.approx(score, abs=1e-3)


async def test_the_first_post_is_no_repost_though_it_comes_last(guild: Guild) -> None:
    guild.post("10", day=3)
    guild.post("11", day=3)
    guild.post("20", day=2)
    assert await guild.link("20") == []


async def test_posts_of_the_same_moment_are_no_reposts_of_each_other(guild: Guild) -> None:
    guild.post("10", day=3)
    guild.post("20", day=3)
    assert await guild.link("10") == await guild.link("20") == []


async def test_images_of_one_message_are_no_reposts_of_each_other(guild: Guild) -> None:
    guild.post("10", day=3, message_id="m")
    guild.post("20", day=4, message_id="m")
    assert await guild.link("20") == []


async def test_nothing_is_a_repost_of_what_is_elsewhere_or_of_another_generation(guild: Guild) -> None:
    guild.post("10", day=1, guild="8")
    guild.post("20", day=2)
    assert await guild.link("20") == []
    guild.post("11", day=1)
    assert await guild.link("20", generation="g2") == []


async def test_most_images_are_like_nothing_and_cost_no_document(guild: Guild) -> None:
    guild.post("10", day=1, degrees=60)
    guild.catalogue.down = True
    assert await guild.link("20") == []


async def test_the_index_need_not_know_the_image_yet(guild: Guild) -> None:
    guild.post("20", day=2)
    guild.index = EmbeddedIndex()
    guild.post("10", day=1)
    assert [fact.same_as for fact in await guild.link("20")] == ["10"]


async def test_the_first_of_very_many_posts_is_found(guild: Guild) -> None:
    for number in range(10 * FEW):
        guild.post(f"{number:03}", day=2, degrees=number / 100)
    guild.post("first", day=1, degrees=20)
    guild.post("new", day=3)
    assert [fact.same_as for fact in await guild.link("new")] == ["first"]


async def test_a_match_that_is_not_catalogued_any_more_is_passed_over(guild: Guild) -> None:
    guild.post("10", day=1)
    guild.post("11", day=2)
    guild.post("20", day=3)
    await guild.catalogue.remove("10")
    assert [fact.same_as for fact in await guild.link("20")] == ["11"]


async def test_a_vector_that_overtook_its_post_is_tried_again(guild: Guild) -> None:
    guild.post("10", day=1)
    with pytest.raises(Retry, match="image 20 has a vector"):
        await guild.link("20")
    guild.catalogue.documents["20"] = {"media": {}}
    with pytest.raises(Retry, match="image 20 has a vector"):
        await guild.link("20")


async def test_a_removed_image_is_no_repost(guild: Guild) -> None:
    guild.post("10", day=1)
    await guild.catalogue.remove("20")
    assert await guild.link("20") == []


async def test_a_generation_that_does_not_serve_yet_says_nothing(guild: Guild) -> None:
    guild.post("10", day=1)
    guild.post("20", day=2)
    guild.serves = False
    guild.catalogue.down = True
    assert await guild.link("20") == []


async def test_what_another_generation_linked_is_not_linked_again_but_the_same_one_says_the_same(guild: Guild) -> None:
    guild.post("10", day=1)
    guild.post("20", day=2)
    guild.index.add("7", "g2", "10", "70", direction(0))
    (fact,) = await guild.link("20")
    await guild.catalogue.merge("20", fields_of(fact))
    assert await guild.link("20", generation="g2") == []
    assert await guild.link("20") == [fact]


def test_the_stage_is_declared() -> None:
    assert STAGE.by_generation == (ImageEmbedded,)
    assert (STAGE.name, STAGE.consumes, STAGE.emits) == ("link", (ImageEmbedded,), (ImageReposted,))
