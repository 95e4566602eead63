"""Alerts: a member is notified once when the picture is posted, and only about posts that they may read."""

import io
from pathlib import Path

import pytest
from PIL import Image

from contracts.events import AlertCancelled, AlertDelivered, AlertSet, AlertTriggered
from infra.discord.wording import localize
from infra.sandbox.simulator import Channel, Member, Message, Overwrite, Permission, VisibleAnswer
from tests.support.waiting import eventually
from tests.support.world import Discord, World, art_png, mapseek_beside, shared_world

EN = "en-US"
WANTED = 7


async def request_alert(world: World, *, channel: Channel | None = None, member: Member | None = None) -> VisibleAnswer:
    """Search for a picture that nobody posted and press "Notify me if it's posted"; return the reply to the press."""
    discord, simulator = world.discord, world.discord.simulator
    answer = await simulator.answer(await discord.ask(art_png(WANTED), channel=channel, member=member), embedded=True)
    assert answer.embeds[0]["title"] == localize(EN, "answers-none")
    return await press_alert_button(world, answer, member or discord.alex)


async def press_alert_button(world: World, answer: VisibleAnswer, member: Member) -> VisibleAnswer:
    pressed = await world.discord.simulator.press(answer, member, label=localize(EN, "answers-button-alert"))
    noted = await world.discord.simulator.answer(pressed)
    assert noted.content == localize(EN, "asking-alert-noted")
    assert noted.ephemeral
    return noted


async def read_direct_messages(discord: Discord, member: Member, number: int = 1) -> list[str]:
    """Wait for `number` direct messages to a member and return them."""
    messages = discord.simulator.direct_messages
    await eventually(lambda: len(messages(member)) >= number)
    return [message.content for message in messages(member)]


async def wait_for_outcomes(world: World) -> list[str]:
    """Wait until no alert can be delivered any more; return the outcome of every delivery."""
    for family in ("removal", "image", "alert"):
        await world.log.wait_until_idle(family)
    assert await world.log.dead_letters() == []
    return [fact.outcome for fact in await world.log.facts(AlertDelivered)]


def notice_text(message: Message) -> str:
    return localize(EN, "notices-alert-direct", link=message.jump_url)


@shared_world
async def test_a_member_is_notified_once_by_direct_message_when_the_picture_is_posted(server: World) -> None:
    discord = server.discord
    await request_alert(server)
    await discord.post(("other.png", art_png(1)))
    message = await discord.post(("wanted.png", art_png(WANTED)))
    assert await read_direct_messages(discord, discord.alex) == [notice_text(message)]
    await server.log.wait_for(AlertDelivered, 1)
    await discord.post(("again.png", art_png(WANTED)))
    await server.archived(3)
    assert await wait_for_outcomes(server) == ["direct"]
    assert discord.simulator.direct_messages(discord.alex)[0].content == notice_text(message)
    assert len(discord.simulator.direct_messages(discord.alex)) == 1
    assert discord.simulator.direct_messages(discord.steve) == []


@shared_world
async def test_two_posts_at_the_same_moment_cause_one_notice(server: World) -> None:
    discord = server.discord
    await request_alert(server)
    message = await discord.post(("one.png", art_png(WANTED)), ("two.png", art_png(WANTED)))
    assert await read_direct_messages(discord, discord.alex) == [notice_text(message)]
    await server.archived(2)
    await wait_for_outcomes(server)
    assert len(discord.simulator.direct_messages(discord.alex)) == 1


@shared_world
async def test_a_picture_posted_before_the_button_is_pressed_is_notified_at_once(server: World) -> None:
    discord, simulator = server.discord, server.discord.simulator
    answer = await simulator.answer(await discord.ask(art_png(WANTED)), embedded=True)
    message = await discord.post(("wanted.png", art_png(WANTED)))
    await server.archived(1)
    await press_alert_button(server, answer, discord.alex)
    assert await read_direct_messages(discord, discord.alex) == [notice_text(message)]


@shared_world
async def test_a_member_with_closed_dms_is_mentioned_where_they_asked(server: World) -> None:
    discord, simulator = server.discord, server.discord.simulator
    simulator.close_dms(discord.alex)
    lobby = simulator.add_text_channel(discord.guild, "lobby")
    await request_alert(server, channel=lobby)
    message = await discord.post(("wanted.png", art_png(WANTED)))
    await server.log.wait_for(AlertDelivered, 1)
    assert await wait_for_outcomes(server) == ["mention"]
    [mention] = [each for each in lobby.messages.values() if each.author.bot and each.content]
    assert mention.content == localize(EN, "notices-alert-mention", member=f"<@{discord.alex.id}>", link=message.jump_url)


@shared_world
async def test_a_picture_in_an_unreadable_channel_is_withheld_until_it_is_posted_in_a_readable_one(
    server: World,
) -> None:
    discord, simulator = server.discord, server.discord.simulator
    bot = Overwrite(simulator.me(discord.guild), allow=Permission.VIEW_CHANNEL | Permission.READ_MESSAGE_HISTORY)
    hidden = simulator.add_text_channel(
        discord.guild, "hidden", [Overwrite(discord.guild.everyone, deny=Permission.VIEW_CHANNEL), bot]
    )
    await request_alert(server)
    await discord.post(("secret.png", art_png(WANTED)), channel=hidden)
    await server.log.wait_for(AlertDelivered, 1)
    assert await wait_for_outcomes(server) == ["withheld"]
    assert simulator.direct_messages(discord.alex) == []
    message = await discord.post(("wanted.png", art_png(WANTED)))
    assert await read_direct_messages(discord, discord.alex) == [notice_text(message)]
    await server.log.wait_for(AlertDelivered, 2)
    assert await wait_for_outcomes(server) == ["withheld", "direct"]


@shared_world
async def test_a_post_in_a_private_thread_notifies_only_its_members(server: World) -> None:
    discord, simulator = server.discord, server.discord.simulator
    thread = await simulator.add_thread(discord.gallery, "workshop", owner=discord.steve, private=True)
    await simulator.join_thread(thread, simulator.me(discord.guild))
    await request_alert(server)
    await request_alert(server, member=discord.steve)
    await server.log.wait_for(AlertSet, 2)
    message = await discord.post(("secret.png", art_png(WANTED)), channel=thread)
    assert await read_direct_messages(discord, discord.steve) == [notice_text(message)]
    await server.log.wait_for(AlertDelivered, 2)
    assert sorted(await wait_for_outcomes(server)) == ["direct", "withheld"]
    assert simulator.direct_messages(discord.alex) == []


@shared_world
async def test_age_restricted_posts_notify_only_members_who_asked_in_an_age_restricted_channel(server: World) -> None:
    discord, simulator = server.discord, server.discord.simulator
    tavern = simulator.add_text_channel(discord.guild, "tavern", nsfw=True)
    await request_alert(server)
    await request_alert(server, channel=tavern, member=discord.steve)
    await server.log.wait_for(AlertSet, 2)
    there = await discord.post(("adult.png", art_png(WANTED)), channel=tavern)
    assert await read_direct_messages(discord, discord.steve) == [notice_text(there)]
    await server.log.wait_for(AlertDelivered, 2)
    assert sorted(await wait_for_outcomes(server)) == ["direct", "withheld"]
    assert simulator.direct_messages(discord.alex) == []
    here = await discord.post(("wanted.png", art_png(WANTED)))
    assert await read_direct_messages(discord, discord.alex) == [notice_text(here)]


@shared_world
@pytest.mark.parametrize("way", ["the button under the note", "the list of /alerts"])
async def test_a_cancelled_alert_notifies_nobody(server: World, way: str) -> None:
    discord, simulator = server.discord, server.discord.simulator
    noted = await request_alert(server)
    await server.log.wait_for(AlertSet, 1)
    if way == "the button under the note":
        pressed = await simulator.press(noted, discord.alex, label=localize(EN, "asking-alert-cancel"))
    else:
        listed = await simulator.answer(await simulator.slash(discord.gallery, discord.alex, "alerts"))
        assert listed.content == localize(EN, "asking-alerts-some", count=1)
        [alert] = listed.embeds
        assert f"<#{discord.gallery.id}>" in alert["description"]
        [(name, picture)] = listed.attachments
        assert name in alert["thumbnail"]["url"]
        shown = Image.open(io.BytesIO(picture))
        assert (shown.format, max(shown.size)) == ("WEBP", 256)
        pressed = await simulator.press(listed, discord.alex, label=localize(EN, "asking-alerts-cancel", number=1))
    assert (await simulator.answer(pressed)).content == localize(EN, "asking-alert-cancelled")
    await server.log.wait_for(AlertCancelled, 1)
    listed = await simulator.answer(await simulator.slash(discord.gallery, discord.alex, "alerts"))
    assert (listed.content, listed.buttons) == (localize(EN, "asking-alerts-none"), {})
    await discord.post(("wanted.png", art_png(WANTED)))
    await server.archived(1)
    assert await wait_for_outcomes(server) == []
    assert await server.log.count(AlertTriggered) == 0
    assert simulator.direct_messages(discord.alex) == []


@shared_world
@pytest.mark.parametrize("locale", ["en-US", "de"])
async def test_a_picture_that_is_gone_is_not_shown_but_its_alert_is(server: World, locale: str) -> None:
    discord, simulator = server.discord, server.discord.simulator
    await request_alert(server)
    await server.log.wait_for(AlertSet, 1)
    [alert] = await server.log.facts(AlertSet)
    await (await server.process.container.query_blobs()).delete(alert.pixels)
    listed = await simulator.answer(await simulator.slash(discord.gallery, discord.alex, "alerts", locale=locale))
    assert listed.attachments == []
    assert localize(locale, "asking-alerts-picture-gone") in listed.embeds[0]["description"]
    assert [each.label for each in listed.buttons.values()] == [localize(locale, "asking-alerts-cancel", number=1)]


@shared_world
async def test_an_ended_alert_is_no_longer_listed_and_ends_no_other_alert(server: World) -> None:
    discord, simulator = server.discord, server.discord.simulator
    mine, theirs = await request_alert(server), await request_alert(server, member=discord.steve)
    await server.log.wait_for(AlertSet, 2)
    await simulator.answer(await simulator.press(theirs, discord.steve, label=localize(EN, "asking-alert-cancel")))
    message = await discord.post(("wanted.png", art_png(WANTED)))
    assert await read_direct_messages(discord, discord.alex) == [notice_text(message)]
    await server.log.wait_for(AlertDelivered, 1)
    assert await wait_for_outcomes(server) == ["direct"]
    listed = await simulator.answer(await simulator.slash(discord.gallery, discord.alex, "alerts"))
    assert listed.content == localize(EN, "asking-alerts-none")
    again = await simulator.answer(await simulator.press(mine, discord.alex, label=localize(EN, "asking-alert-cancel")))
    assert again.content == localize(EN, "asking-alert-cancelled")
    assert simulator.direct_messages(discord.steve) == []


async def test_a_backfilled_image_triggers_alerts(discord: Discord, tmp_path: Path) -> None:
    simulator = discord.simulator
    before = await discord.post(("wanted.png", art_png(WANTED)))
    manager = simulator.add_member(discord.guild, "Mo", [simulator.add_role(discord.guild, "managers", Permission.MANAGE_GUILD)])
    async with mapseek_beside(discord, tmp_path) as world:
        await request_alert(world)
        await simulator.slash(discord.gallery, manager, "archive backfill", options={"channel": discord.gallery})
        assert await read_direct_messages(discord, discord.alex) == [notice_text(before)]
        await world.log.wait_for(AlertDelivered, 1)
        assert await wait_for_outcomes(world) == ["direct"]


@pytest.mark.parametrize("posted", ["after the restart", "while MapSeek was away"])
async def test_an_alert_survives_a_restart_of_everything(discord: Discord, tmp_path: Path, posted: str) -> None:
    message = None
    async with mapseek_beside(discord, tmp_path) as world:
        await discord.post(("other.png", art_png(1)))
        await world.archived(1)
        noted = await request_alert(world)
        await world.log.wait_for(AlertSet, 1)
    if posted == "while MapSeek was away":
        message = await discord.post(("wanted.png", art_png(WANTED)))
    async with mapseek_beside(discord, tmp_path) as world:
        message = message or await discord.post(("wanted.png", art_png(WANTED)))
        assert await read_direct_messages(discord, discord.alex) == [notice_text(message)]
        await world.log.wait_for(AlertDelivered, 1)
        assert await wait_for_outcomes(world) == ["direct"]
    async with mapseek_beside(discord, tmp_path) as world:
        await discord.post(("again.png", art_png(WANTED)))
        await world.archived(3)
        assert await wait_for_outcomes(world) == ["direct"]
        late = await discord.simulator.answer(
            await discord.simulator.press(noted, discord.alex, label=localize(EN, "asking-alert-cancel"))
        )
        assert late.content == localize(EN, "asking-alert-cancelled")
    assert len(discord.simulator.direct_messages(discord.alex)) == 1
