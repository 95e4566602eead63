"""A search does not wait for images in the archive lane."""

from pathlib import Path

from contracts.events import ImageIndexed, ImagePosted
from contracts.subjects import IMAGES
from tests.support.bench_stage import count_unsettled
from tests.support.world import Discord, art_png, mapseek_beside

WAITING = 300


async def test_a_search_is_answered_while_three_hundred_images_wait(discord: Discord, tmp_path: Path) -> None:
    async with mapseek_beside(discord, tmp_path, stages=()) as world:
        for number in range(WAITING // 10):
            await discord.post(*((f"{number}-{seed}.png", art_png(seed)) for seed in range(10)))
        await world.log.wait_for(ImagePosted, WAITING)
    async with mapseek_beside(discord, tmp_path) as world:
        answer = await discord.simulator.answer(await discord.ask(art_png(1)), embedded=True)
        archived = await world.log.count(ImageIndexed)
        waiting = await count_unsettled(world.log.client, IMAGES, "download-image")
        assert answer.edits <= 3, "two steps and the answer"
        assert waiting > WAITING // 3, f"{archived} of {WAITING} were archived when the answer came"
