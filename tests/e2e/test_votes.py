"""Votes on an answer are kept with everything that is needed to search again; a member's last vote counts."""

import pytest_asyncio

from contracts.events import SearchJudged
from infra.sandbox.simulator import Member, Message, VisibleAnswer
from tests.support.world import World, art_png, list_labels, shared_world

YES, NO = "This is it", "Not it"
THANKS = "Thanks! You said: this is it. If you change your mind, press “Not it”."
THANKS_ANYWAY = "Thanks! You said: not it. If you change your mind, press “This is it”."


@pytest_asyncio.fixture(loop_scope="module")
async def posted(server: World) -> Message:
    message = await server.discord.post(("dragon.png", art_png(5)))
    await server.archived(1)
    return message


async def ask(world: World) -> VisibleAnswer:
    """Let Alex search with an answer that everyone sees."""
    discord = world.discord
    files = {"image": ("shot.png", art_png(5))}
    asked = await discord.simulator.slash(discord.gallery, discord.alex, "find", attachments=files, options={"private": False})
    return await discord.simulator.answer(asked, embedded=True)


async def vote(world: World, answer: VisibleAnswer, member: Member, label: str, locale: str = "en-US") -> str:
    """Press a vote button and return the reply, which only the voter sees."""
    pressed = await world.discord.simulator.press(answer, member, label=label, locale=locale)
    told = await world.discord.simulator.answer(pressed)
    await world.log.wait_until_idle("search")
    assert told.ephemeral
    assert told.message is not answer.message
    return told.content


def latest_votes(judged: list[SearchJudged]) -> dict[str, bool]:
    """Return every voter's last vote."""
    return {fact.voter_id: fact.right for fact in sorted(judged, key=lambda fact: (fact.judged_at, fact.interaction_id))}


@shared_world
async def test_a_vote_is_kept_with_the_query_picture(server: World, posted: Message) -> None:
    discord = server.discord
    assert await vote(server, await ask(server), discord.alex, YES) == THANKS
    [judged] = await server.log.facts(SearchJudged)
    assert (judged.image_id, judged.right) == (str(posted.attachments[0].id), True)
    assert (judged.voter_id, judged.guild_id) == (str(discord.alex.id), str(discord.guild.id))
    assert (judged.generation, judged.score > 0.99, judged.words) == ("g1", True, None)
    assert judged.pixels is not None
    assert await (await server.process.container.query_blobs()).exists(judged.pixels)


@shared_world
async def test_a_vote_may_be_changed_and_the_last_one_counts(server: World, posted: Message) -> None:
    answer = await ask(server)
    told = [await vote(server, answer, server.discord.alex, label) for label in (YES, YES, NO)]
    assert told == [THANKS, THANKS, THANKS_ANYWAY]
    assert latest_votes(await server.log.facts(SearchJudged)) == {str(server.discord.alex.id): False}
    assert {"This is it", "Not it"} <= set(list_labels(answer))


@shared_world
async def test_votes_of_several_members_on_one_answer_are_kept_separately(server: World, posted: Message) -> None:
    discord = server.discord
    answer = await ask(server)
    noor = discord.simulator.add_member(discord.guild, "Noor")
    await vote(server, answer, discord.alex, YES)
    await vote(server, answer, discord.steve, NO)
    thanks = await vote(server, answer, noor, NO, locale="de")
    assert thanks == "Danke! Du hast gesagt: Das ist es nicht. Wenn du deine Meinung änderst, drück „Das ist es“."
    await vote(server, answer, noor, YES)
    expected = {str(discord.alex.id): True, str(discord.steve.id): False, str(noor.id): True}
    assert latest_votes(await server.log.facts(SearchJudged)) == expected
    assert await server.log.dead_letters() == []
