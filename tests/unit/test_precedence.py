"""Who may begin: a question's messages at once, an image's when no question is worked on."""

import asyncio

from pipeline.engine.job import Precedence

LONG = 60.0


async def test_without_a_question_an_image_begins_at_once() -> None:
    async with asyncio.timeout(1):
        await Precedence(grace=LONG, patience=LONG).wait_for_turn()


async def test_an_image_waits_until_the_last_question_has_ended() -> None:
    precedence = Precedence(grace=0, patience=LONG)
    with precedence.search_in_progress():
        with precedence.search_in_progress():
            image = asyncio.create_task(precedence.wait_for_turn())
        await asyncio.sleep(0.01)
        assert not image.done()
    await asyncio.wait_for(image, 1)


async def test_between_two_stages_of_a_question_no_image_begins() -> None:
    precedence = Precedence(grace=0.05, patience=LONG)
    with precedence.search_in_progress():
        image = asyncio.create_task(precedence.wait_for_turn())
    with precedence.search_in_progress():
        await asyncio.sleep(0.1)
        assert not image.done()
    await asyncio.wait_for(image, 1)


async def test_an_image_stands_back_for_a_bounded_time_however_many_ask() -> None:
    precedence = Precedence(grace=LONG, patience=0.05)
    image = asyncio.create_task(precedence.wait_for_turn())
    async with asyncio.timeout(1):
        while not image.done():
            with precedence.search_in_progress():
                await asyncio.sleep(0.01)


async def test_a_question_that_is_held_is_not_stood_back_for() -> None:
    precedence = Precedence(grace=0, patience=0.05)
    with precedence.search_in_progress():
        await asyncio.sleep(0.1)
        precedence._patience = LONG
        await asyncio.wait_for(precedence.wait_for_turn(), 1)
