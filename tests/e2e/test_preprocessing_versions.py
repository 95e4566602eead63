"""A new version of preprocessing needs a new generation; images enter both generations until one is dropped."""

import io
from pathlib import Path

import pytest
from PIL import Image

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import (
    ImageEmbedded,
    ImagePreprocessed,
    LocalReply,
    Question,
    SearchEmbedded,
    SearchMatched,
    SearchPreprocessed,
    SearchRejected,
)
from infra.clip.calibration import UNTRAINED_MODEL
from infra.discord.wording import localize
from stages import preprocess
from tests.support.facts import ALEX, MOMENT
from tests.support.files import decode_mirrored
from tests.support.world import (
    Discord,
    World,
    art_png,
    begin_generation,
    drop_whole_generation,
    mapseek_beside,
    switch_generation,
    wait_for_facts,
)

pytestmark = pytest.mark.usefixtures("pictures_in_threads")

EN = "en-US"
PIECE = 7


@pytest.fixture
def second_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this release one more version than the one with which the archive began."""
    monkeypatch.setitem(preprocess.PREPROCESSORS, "p2", decode_mirrored)


async def search_piece(world: World) -> tuple[str, str, str, str]:
    """Search for the piece; return the preprocessing and the generation of the query, the verdict and the score."""
    answer = await world.discord.simulator.answer(await world.discord.ask(art_png(PIECE)), embedded=True)
    preprocessed = (await world.log.facts(SearchPreprocessed))[-1].preprocessing
    generation = (await world.log.facts(SearchEmbedded))[-1].generation
    matched = (await world.log.facts(SearchMatched))[-1]
    assert answer.embeds[0]["title"] != localize(EN, "answers-none")
    return preprocessed, generation, matched.verdict, f"{matched.matches[0].score:.2f}"


@pytest.mark.usefixtures("second_version")
async def test_live_images_enter_generations_of_both_versions_and_queries_use_the_active_one(
    world: World,
) -> None:
    await world.discord.post(("before.png", art_png(1)))
    await world.archived(1)
    await begin_generation(world, "g2", model=UNTRAINED_MODEL, preprocessing="p2")
    await world.discord.post(("piece.png", art_png(PIECE)))
    await wait_for_facts(world, ImageEmbedded, "g2", 1)
    await world.archived(2)

    before, first, second = sorted(await world.log.facts(ImagePreprocessed), key=lambda fact: (fact.image_id, fact.preprocessing))
    assert [before.preprocessing, first.preprocessing, second.preprocessing] == ["p1", "p1", "p2"]
    assert first.image_id == second.image_id != before.image_id
    blobs = await world.process.container.blobs()
    plain, turned = [Image.open(io.BytesIO(await blobs.get(fact.pixels))) for fact in (first, second)]
    assert plain.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes() == turned.tobytes()
    vectors = {fact.generation: fact.vector for fact in await world.log.facts(ImageEmbedded) if fact.image_id == first.image_id}
    assert vectors.keys() == {"g1", "g2"}
    assert vectors["g1"] != vectors["g2"]

    assert await search_piece(world) == ("p1", "g1", "match", "1.00")
    await switch_generation(world, "g2")
    assert await search_piece(world) == ("p2", "g2", "match", "1.00")
    assert await world.log.dead_letters() == []


@pytest.mark.usefixtures("second_version")
async def test_a_query_preprocessed_for_a_dropped_version_must_be_asked_again(world: World) -> None:
    await begin_generation(world, "g2", model=UNTRAINED_MODEL, preprocessing="p2")
    await switch_generation(world, "g2")
    await drop_whole_generation(world, "g1")
    question = Question(asker=ALEX, requested_at=MOMENT, reply=LocalReply())
    pixels = await (await world.process.container.query_blobs()).put(art_png(PIECE))
    late = SearchPreprocessed(
        guild_id="7", search_id="11", question=question, pixels=pixels, width=128, height=128, preprocessing="p1"
    )
    await world.process.container.journal.record(late, Origin("test"))
    await world.log.wait_for(SearchRejected, 1)
    [rejected] = await world.log.facts(SearchRejected)
    assert (rejected.stage, rejected.reason) == (
        "embed",
        "MapSeek has just switched to a new model. Please search again.",
    )
    assert await world.log.dead_letters() == []


async def test_a_release_that_lacks_a_version_says_so_at_the_start(
    discord: Discord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setitem(preprocess.PREPROCESSORS, "p2", decode_mirrored)
        async with mapseek_beside(discord, tmp_path) as world:
            await begin_generation(world, "g2", model=UNTRAINED_MODEL, preprocessing="p2")
    with pytest.raises(MapSeekError, match=r"Generation g2 uses the preprocessing p2, which this release does not know"):
        async with mapseek_beside(discord, tmp_path):
            pass
