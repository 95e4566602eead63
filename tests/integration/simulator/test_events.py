"""Events of the simulated Discord reach the real client, as far as the bot may see them."""

import io
from datetime import UTC, datetime

import aiohttp
import disnake
import pytest
from PIL import Image

from infra.sandbox.simulator import Channel, Guild, Member, Overwrite, Permission, Simulator
from infra.sandbox.simulator.model import compute_permissions
from tests.support.gateway import RecordingBot, log_in, png_file


async def test_the_client_logs_in_and_sees_what_is_there(sim: Simulator, guild: Guild, channel: Channel, bot: RecordingBot) -> None:
    assert [(each.id, each.name) for each in bot.guilds] == [(guild.id, "Mapmakers")]
    assert [(each.id, each.name) for each in bot.guilds[0].text_channels] == [(channel.id, "gallery")]
    assert "guild_available" in bot.seen
    assert "guild_join" not in bot.seen
    assert bot.user.id == sim.application_id == bot.application_id
    assert bot.guilds[0].me.id == bot.user.id
    assert (await bot.application_info()).id == sim.application_id
    assert (await bot.fetch_channel(channel.id)).name == "gallery"


async def test_a_posted_message_arrives_with_every_attachment(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member
) -> None:
    pictures = [(f"map {number}.png", png_file(number + 1, 2)) for number in range(11)]
    posted = await sim.post(channel, steve, "my maps", files=pictures)
    message = await bot.next("message")
    assert (message.id, message.content, message.author.id) == (posted.id, "my maps", steve.id)
    assert message.jump_url == posted.jump_url
    assert [each.id for each in message.attachments] == [each.id for each in posted.attachments]
    for (_, data), attachment in zip(pictures, message.attachments, strict=True):
        assert await attachment.read() == data
        assert (attachment.width, attachment.height) == Image.open(io.BytesIO(data)).size
        assert (attachment.size, attachment.content_type) == (len(data), "image/png")
    assert [each.filename for each in message.attachments][:2] == ["map_0.png", "map_1.png"]
    assert [each.title for each in message.attachments][:2] == ["map 0", "map 1"]


async def test_ids_carry_the_time_of_the_post(bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member) -> None:
    then = datetime(2019, 5, 4, 12, 30, 15, 250_000, tzinfo=UTC)
    await sim.post(channel, steve, "old", at=then)
    message = await bot.next("message")
    assert message.created_at == disnake.utils.snowflake_time(message.id) == then


async def test_a_file_that_is_no_picture_has_no_dimensions(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member
) -> None:
    await sim.post(channel, steve, files=[("lie.png", b"not a picture"), ("cut.png", png_file()[:20]), ("none", b"")])
    assert [(each.width, each.content_type) for each in (await bot.next("message")).attachments] == [
        (None, "image/png"),
        (None, "image/png"),
        (None, None),
    ]


async def test_an_edit_and_a_deletion_arrive(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    posted = await sim.post(channel, steve, "https://example.org/map", files=[("a.png", png_file())])
    await sim.edit(
        posted, embeds=[{"type": "image", "url": "https://example.org/map", "thumbnail": {"url": "https://example.org/m.png"}}]
    )
    unfolded = (await bot.next("raw_message_edit")).data
    assert unfolded["embeds"][0]["thumbnail"]["url"] == "https://example.org/m.png"
    assert (unfolded["edited_timestamp"], len(unfolded["attachments"])) == (None, 1)
    await sim.edit(posted, content="never mind")
    assert (await bot.next("raw_message_edit")).data["edited_timestamp"] is not None
    await sim.delete(posted)
    gone = await bot.next("raw_message_delete")
    assert (gone.message_id, gone.channel_id, gone.guild_id) == (posted.id, channel.id, channel.guild.id)
    assert (await http.get(unfolded["attachments"][0]["url"])).status == 404
    with pytest.raises(disnake.NotFound) as refused:
        await bot.get_channel(channel.id).fetch_message(posted.id)
    assert refused.value.code == 10008


async def test_the_same_message_can_be_delivered_again(bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member) -> None:
    posted = await sim.post(channel, steve, "once")
    await sim.redeliver(posted)
    await sim.redeliver(posted)
    assert [(await bot.next("message")).id for _ in range(3)] == [posted.id] * 3


async def test_channels_added_later_arrive(bot: RecordingBot, sim: Simulator) -> None:
    other = sim.add_guild("Later")
    assert (await bot.next("guild_join")).id == other.id
    role = sim.add_role(other, "Makers")
    assert (await bot.next("guild_role_create")).id == role.id
    channel = sim.add_text_channel(other, "new")
    assert (await bot.next("guild_channel_create")).id == channel.id
    await sim.post(channel, sim.add_member(other, "Alex"), "hi")
    assert (await bot.next("message")).channel.id == channel.id


async def test_the_client_computes_the_same_permissions(sim: Simulator, guild: Guild) -> None:
    role, hidden = sim.add_role(guild, "Makers"), Overwrite(guild.everyone, deny=Permission.VIEW_CHANNEL)
    maker, guest = sim.add_member(guild, "Maker", roles=[role]), sim.add_member(guild, "Guest")
    chief = sim.add_member(guild, "Chief", roles=[sim.add_role(guild, "Chiefs", Permission.ADMINISTRATOR)])
    rules = {
        "open": [],
        "hidden": [hidden],
        "makers": [hidden, Overwrite(role, allow=Permission.VIEW_CHANNEL)],
        "guest": [Overwrite(role, deny=Permission.SEND_MESSAGES), hidden, Overwrite(guest, allow=Permission.VIEW_CHANNEL)],
        "muted": [Overwrite(guild.everyone, allow=Permission.MANAGE_MESSAGES), Overwrite(role, deny=Permission.MANAGE_MESSAGES)],
        "banned": [Overwrite(role, allow=Permission.MANAGE_MESSAGES), Overwrite(maker, deny=Permission.MANAGE_MESSAGES)],
        "bot": [hidden, Overwrite(sim.me(guild), allow=Permission.VIEW_CHANNEL)],
    }
    channels = [sim.add_text_channel(guild, name, overwrites) for name, overwrites in rules.items()]
    known = sum(Permission) & ~Permission.CONNECT  # disnake leaves it out for text channels
    async with log_in(sim) as bot:
        seen = bot.guilds[0]
        for channel in channels:
            mine = compute_permissions(channel, sim.me(guild))
            assert seen.get_channel(channel.id).permissions_for(seen.me).value & known == mine & known
        for member in (maker, guest, chief):
            await sim.slash(channels[0], member, "find", attachments={"image": ("q.png", png_file())})
            inter = await bot.next("application_command")
            for channel in channels:
                theirs = seen.get_channel(channel.id).permissions_for(inter.author)
                assert theirs.value & known == compute_permissions(channel, member) & known, (channel.name, member.user.name)


async def test_no_event_arrives_from_a_hidden_channel(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    hidden = sim.add_text_channel(guild, "hidden", [Overwrite(sim.me(guild), deny=Permission.VIEW_CHANNEL)])
    secret = await sim.post(hidden, steve, "secret")
    await sim.edit(secret, content="more secret")
    await sim.delete(secret)
    await sim.post(channel, steve, "open")
    assert (await bot.next("message")).content == "open"
    assert not {"raw_message_edit", "raw_message_delete"} & set(bot.seen)
    with pytest.raises(disnake.Forbidden) as refused:
        await bot.get_channel(hidden.id).history().flatten()
    assert refused.value.code == 50001
