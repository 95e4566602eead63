"""Changes of guilds, channels and roles while the real client is connected, and deletions."""

import aiohttp
import disnake
import pytest

from infra.sandbox.simulator import Channel, Guild, Member, Overwrite, Permission, Simulator
from tests.support.gateway import RecordingBot, log_in, png_file
from tests.support.waiting import eventually

HIDE = Permission.VIEW_CHANNEL


async def test_channels_have_categories(sim: Simulator, guild: Guild, channel: Channel) -> None:
    heading = sim.add_category(guild, "Maps")
    maps = sim.add_text_channel(guild, "maps", category=heading)
    forum = sim.add_forum(guild, "showcase", category=heading)
    grim = sim.add_text_channel(guild, "grim", nsfw=True)
    async with log_in(sim) as bot:
        seen = bot.guilds[0]
        assert {each.id for each in seen.get_channel(heading.id).channels} == {forum.id, maps.id}
        assert (seen.get_channel(maps.id).category.name, seen.get_channel(channel.id).category) == ("Maps", None)
        assert [each.name for each in seen.channels if getattr(each, "nsfw", False)] == ["grim"]
        assert seen.get_channel(grim.id).is_nsfw()


async def test_changed_overwrites_reach_the_client_and_are_enforced(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    seen = bot.get_channel(channel.id)
    me = bot.guilds[0].me
    await sim.set_overwrites(channel, [Overwrite(sim.me(guild), deny=HIDE)])
    await bot.next("guild_channel_update")
    assert not seen.permissions_for(me).view_channel
    await sim.post(channel, steve, "unseen")
    with pytest.raises(disnake.Forbidden):
        await seen.history().flatten()
    await sim.set_overwrites(channel, [Overwrite(guild.everyone, deny=Permission.READ_MESSAGE_HISTORY)])
    await bot.next("guild_channel_update")
    assert await seen.history().flatten() == []
    await sim.set_overwrites(channel, [])
    await bot.next("guild_channel_update")
    assert [each.content for each in await seen.history().flatten()] == ["unseen"]
    assert "message" not in bot.seen


async def test_channels_change_with_their_category_if_they_are_synced_with_it(
    bot: RecordingBot, sim: Simulator, guild: Guild
) -> None:
    heading, mine = sim.add_category(guild, "Staff"), Overwrite(sim.me(guild), deny=Permission.ADD_REACTIONS)
    follower = sim.add_text_channel(guild, "notes", category=heading)
    own = sim.add_text_channel(guild, "open", [mine], category=heading)
    await sim.set_overwrites(heading, [Overwrite(guild.everyone, deny=HIDE)])
    assert {(await bot.next("guild_channel_update")).id for _ in range(2)} == {heading.id, follower.id}
    me = bot.guilds[0].me
    assert not bot.get_channel(follower.id).permissions_for(me).view_channel
    assert bot.get_channel(own.id).permissions_for(me).view_channel


async def test_roles_change_permissions(bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member) -> None:
    makers = sim.add_role(guild, "Makers")
    staff = sim.add_text_channel(guild, "staff", [Overwrite(guild.everyone, deny=HIDE), Overwrite(makers, allow=HIDE)])
    await sim.set_roles(steve, [makers])
    assert "raw_member_update" not in bot.seen
    await sim.slash(staff, steve, "find", attachments={"image": ("q.png", png_file())})
    asker = (await bot.next("application_command")).author
    assert [each.id for each in asker.roles] == [guild.id, makers.id]
    assert asker.guild_permissions.value == int(guild.everyone.permissions)
    await sim.edit_role(makers, Permission.MANAGE_GUILD)
    await bot.next("guild_role_update")
    assert asker.guild_permissions.manage_guild
    await sim.set_roles(sim.me(guild), [makers])
    await bot.next("raw_member_update")
    assert bot.get_channel(staff.id).permissions_for(bot.guilds[0].me).view_channel
    await sim.set_roles(steve, [])
    await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file())})
    left = (await bot.next("application_command")).author
    assert not bot.get_channel(staff.id).permissions_for(left).view_channel


async def test_a_deleted_channel_is_gone_with_its_threads(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    talk = await sim.add_thread(channel, "talk", owner=steve)
    posted = [await sim.post(place, steve, files=[("a.png", png_file())]) for place in (channel, talk)]
    thread = await bot.next("thread_create")
    await sim.delete_channel(channel)
    assert (await bot.next("guild_channel_delete")).id == channel.id
    for place in (channel, talk):
        with pytest.raises(disnake.NotFound) as refused:
            await bot.http.logs_from(place.id, 5)
        assert refused.value.code == 10003
    for message in posted:
        assert (await http.get(message.attachments[0].url)).status == 404
    assert not {"thread_delete", "raw_thread_delete", "raw_message_delete"} & set(bot.seen)
    assert thread.parent is None
    assert bot.guilds[0].threads == [thread], (
        "disnake drops the threads of a deleted channel now: code need not check the parent any more"
    )


async def test_deleting_a_category_keeps_its_channels(bot: RecordingBot, sim: Simulator, guild: Guild) -> None:
    heading = sim.add_category(guild, "Maps")
    maps = sim.add_text_channel(guild, "maps", category=heading)
    await sim.delete_channel(heading)
    assert (await bot.next("guild_channel_update")).id == maps.id
    assert bot.get_channel(maps.id).category is None
    assert bot.get_channel(heading.id) is None


async def test_messages_are_deleted_in_bulk(bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member) -> None:
    posted = [await sim.post(channel, steve, str(number)) for number in range(3)]
    await sim.bulk_delete(posted[:2])
    gone = await bot.next("raw_bulk_message_delete")
    assert (gone.message_ids, gone.channel_id, gone.guild_id) == ({each.id for each in posted[:2]}, channel.id, channel.guild.id)
    assert [each.id for each in await bot.get_channel(channel.id).history().flatten()] == [posted[2].id]


async def test_single_attachments_can_be_removed(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    posted = await sim.post(channel, steve, "two", files=[("a.png", png_file()), ("b.png", png_file())])
    first, second = posted.attachments
    await sim.edit(posted, attachments=[second])
    changed = (await bot.next("raw_message_edit")).data
    assert [each["id"] for each in changed["attachments"]] == [str(second.id)]
    assert changed["edited_timestamp"] is not None
    assert [(await http.get(each.url)).status for each in (first, second)] == [404, 200]


async def test_a_guild_that_removes_the_bot(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    talk = await sim.add_thread(channel, "talk")
    await sim.remove_guild(guild)
    assert (await bot.next("guild_remove")).id == guild.id
    await sim.post(channel, steve, "are you there?")
    for call in (bot.http.get_guild(guild.id), bot.http.get_channel(channel.id), bot.http.logs_from(talk.id, 5)):
        with pytest.raises(disnake.Forbidden) as refused:
            await call
        assert refused.value.code == 50001
    assert "message" not in bot.seen
    elsewhere = sim.add_guild("Elsewhere")
    async with log_in(sim) as again:
        assert [each.id for each in again.guilds] == [elsewhere.id]
        await sim.invite_bot(guild)
        assert (await again.next("guild_join")).id == guild.id
        assert [each.id for each in again.get_guild(guild.id).threads] == [talk.id]
        same = sim.add_member(elsewhere, "Steve", same_as=steve)
        assert (await again.get_guild(elsewhere.id).fetch_member(steve.id)).id == same.id == steve.id


async def test_a_guild_returns_from_an_outage_with_its_present_state(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    await bot.next("guild_available")
    await sim.set_unavailable(guild)
    assert (await bot.next("guild_unavailable")).id == guild.id
    assert "guild_remove" not in bot.seen
    await sim.post(channel, steve, "during the outage")
    new = sim.add_text_channel(guild, "new")
    await sim.set_unavailable(guild, False)
    assert (await bot.next("guild_available")).id == guild.id
    assert bot.get_channel(new.id).name == "new"
    assert "message" not in bot.seen
    assert [each.content for each in await bot.get_channel(channel.id).history().flatten()] == ["during the outage"]


async def test_a_fresh_session_shows_the_present_state(bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel) -> None:
    await sim.disconnect(resumable=False)
    talk = await sim.add_thread(channel, "talk")
    await sim.delete_channel(sim.add_text_channel(guild, "brief"))
    await eventually(lambda: bot.guilds and bot.guilds[0].get_thread(talk.id))
    assert [each.name for each in bot.guilds[0].text_channels] == ["gallery"]


async def test_a_resumed_session_gets_the_events_that_it_missed(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel
) -> None:
    await sim.disconnect()
    talk = await sim.add_thread(channel, "talk")
    await sim.set_overwrites(channel, [Overwrite(guild.everyone, deny=Permission.SEND_MESSAGES)])
    assert (await bot.next("thread_create")).id == talk.id
    await bot.next("guild_channel_update")
    assert not bot.get_channel(channel.id).permissions_for(bot.guilds[0].me).send_messages


async def test_guilds_and_members_over_rest(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    hidden = sim.add_text_channel(guild, "hidden", [Overwrite(guild.everyone, deny=HIDE)])
    await sim.add_thread(channel, "talk")
    makers = sim.add_role(guild, "Makers")
    await sim.set_roles(steve, [makers])
    fetched = await bot.fetch_guild(guild.id)
    assert (fetched.name, fetched.approximate_member_count) == ("Mapmakers", 3)
    assert {each.id for each in await bot.guilds[0].fetch_channels()} == {channel.id, hidden.id}
    await eventually(lambda: bot.guilds[0].get_role(makers.id))
    member = await bot.guilds[0].fetch_member(steve.id)
    assert ([each.name for each in member.roles], member.global_name) == (["@everyone", "Makers"], "Steve")
    with pytest.raises(disnake.NotFound) as stranger:
        await bot.guilds[0].fetch_member(1)
    assert stranger.value.code == 10007
