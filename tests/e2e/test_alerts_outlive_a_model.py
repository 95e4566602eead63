"""Alerts work across a change of model or preprocessing, and notify once."""

import pytest

from contracts.events import AlertDelivered, AlertEmbedded, AlertSet, AlertTriggered, ImageEmbedded, ImagePreprocessed
from infra.discord.wording import localize
from infra.sandbox.simulator import Message, VisibleAnswer
from stages import preprocess
from tests.support.archives import wait_until_archive_idle
from tests.support.files import decode_mirrored
from tests.support.world import Discord, World, art_png, begin_generation, drop_whole_generation, switch_generation, wait_for_facts

pytestmark = pytest.mark.usefixtures("pictures_in_threads")

EN = "en-US"
WANTED = 7


async def search_without_match(world: World) -> VisibleAnswer:
    answer = await world.discord.simulator.answer(await world.discord.ask(art_png(WANTED)), embedded=True)
    assert answer.embeds[0]["title"] == localize(EN, "answers-none")
    return answer


async def press_alert_button(world: World, answer: VisibleAnswer) -> None:
    pressed = await world.discord.simulator.press(answer, world.discord.alex, label=localize(EN, "answers-button-alert"))
    assert (await world.discord.simulator.answer(pressed)).content == localize(EN, "asking-alert-noted")
    await world.log.wait_for(AlertSet, 1)


async def expect_one_notice(world: World, message: Message) -> None:
    await world.log.wait_for(AlertDelivered, 1)
    await world.log.wait_until_idle()
    await world.log.wait_until_idle("alert")
    assert await world.log.dead_letters() == []
    assert list_direct_messages(world.discord) == [localize(EN, "notices-alert-direct", link=message.jump_url)]
    assert await world.log.count(AlertTriggered) == await world.log.count(AlertDelivered) == 1


def list_direct_messages(discord: Discord) -> list[str]:
    return [message.content for message in discord.simulator.direct_messages(discord.alex)]


async def test_an_alert_of_a_dropped_generation_triggers_in_the_new_one(world: World) -> None:
    await world.discord.post(("other.png", art_png(1)))
    await world.archived(1)
    await press_alert_button(world, await search_without_match(world))
    await begin_generation(world, "g2")
    await wait_for_facts(world, AlertEmbedded, "g2", 1)
    await switch_generation(world, "g2")
    await drop_whole_generation(world, "g1")
    message = await world.discord.post(("wanted.png", art_png(WANTED)))
    await expect_one_notice(world, message)
    assert await world.log.count(ImageEmbedded) == 1


async def test_an_image_embedded_before_the_alert_has_a_vector_of_the_new_model_triggers_it(world: World) -> None:
    """The search was answered by a generation that is dropped when its asker requests the alert."""
    answer = await search_without_match(world)
    await begin_generation(world, "g2")
    await switch_generation(world, "g2")
    await drop_whole_generation(world, "g1")
    message = await world.discord.post(("wanted.png", art_png(WANTED)))
    await wait_for_facts(world, ImageEmbedded, "g2", 1)
    await wait_until_archive_idle(world)
    assert list_direct_messages(world.discord) == []
    await press_alert_button(world, answer)
    await expect_one_notice(world, message)


async def test_an_alert_survives_a_change_of_preprocessing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(preprocess.PREPROCESSORS, "p2", decode_mirrored)
    await press_alert_button(world, await search_without_match(world))
    await begin_generation(world, "g2", preprocessing="p2")
    await wait_for_facts(world, AlertEmbedded, "g2", 1)
    await switch_generation(world, "g2")
    await drop_whole_generation(world, "g1")
    message = await world.discord.post(("wanted.png", art_png(WANTED)))
    await expect_one_notice(world, message)
    assert [fact.preprocessing for fact in await world.log.facts(ImagePreprocessed)] == ["p2"]


async def test_while_two_generations_are_alive_an_image_is_notified_once(world: World) -> None:
    await press_alert_button(world, await search_without_match(world))
    await begin_generation(world, "g2")
    await switch_generation(world, "g2")
    await wait_for_facts(world, AlertEmbedded, "g2", 1)
    message = await world.discord.post(("wanted.png", art_png(WANTED)))
    for generation in ("g1", "g2"):
        await wait_for_facts(world, ImageEmbedded, generation, 1)
    await expect_one_notice(world, message)
