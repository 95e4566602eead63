"""Messages of the bot in channels and threads, as replies and as direct messages; and its reactions."""

from typing import Any

import aiohttp
import disnake
import pytest

from infra.sandbox.simulator import Channel, Guild, Member, Overwrite, Permission, Simulator
from tests.support.gateway import INTENTS, RecordingBot, log_in, new_file, png_file


async def test_the_bot_writes_edits_and_deletes(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    seen = bot.get_channel(channel.id)
    embed = disnake.Embed(title="Found").set_image(file=new_file())
    sent = await seen.send("hello", embed=embed, file=new_file("b.png"), allowed_mentions=disnake.AllowedMentions.none())
    assert (await bot.next("message")).id == sent.id
    assert [each.filename for each in channel.messages[sent.id].attachments] == ["b.png", "t.png"]
    assert [each.filename for each in sent.attachments] == ["b.png"]
    await sent.edit(content="changed")
    kept = channel.messages[sent.id]
    assert (kept.content, kept.edited_at is not None, kept.embeds[0]["title"]) == ("changed", True, "Found")
    await sent.delete()
    assert sent.id not in channel.messages
    assert (await bot.next("raw_message_delete")).message_id == sent.id


async def test_a_reply_refers_to_a_message(bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member) -> None:
    posted = await sim.post(channel, steve, "what is this?")
    message = await bot.next("message")
    reply = await message.reply("a dragon")
    assert (reply.type, reply.reference.message_id) == (disnake.MessageType.reply, posted.id)
    assert (await bot.next("message")).reference.resolved.content == "what is this?"
    assert channel.messages[reply.id].reference is posted
    await sim.delete(posted)
    with pytest.raises(disnake.HTTPException) as refused:
        await message.reply("too late")
    assert (refused.value.status, refused.value.code) == (400, 50035)
    lone = await message.reply("to nobody", fail_if_not_exists=False)
    assert (lone.type, lone.reference) == (disnake.MessageType.default, None)
    assert isinstance(
        (await bot.get_channel(channel.id).fetch_message(reply.id)).reference.resolved, disnake.DeletedReferencedMessage
    )


async def test_a_nonce_keeps_a_message_from_being_sent_twice(sim: Simulator, channel: Channel, http: aiohttp.ClientSession) -> None:
    url = f"{sim.api_base}/channels/{channel.id}/messages"

    async def send(**body: Any) -> str:
        response = await http.post(url, json={"content": "once", **body})
        assert response.status == 200
        return str((await response.json())["id"])

    first = await send(nonce="alert-1", enforce_nonce=True)
    assert await send(nonce="alert-1", enforce_nonce=True) == first
    assert await send(nonce="alert-2", enforce_nonce=True) != first
    assert await send(nonce="alert-1") != first
    assert len(channel.messages) == 3


@pytest.mark.parametrize(
    ("denied", "body", "code"),
    [
        (Permission.VIEW_CHANNEL, {"content": "x"}, 50001),
        (Permission.SEND_MESSAGES, {"content": "x"}, 50013),
        (Permission.EMBED_LINKS, {"embeds": [{"title": "x"}]}, 50013),
        (Permission.READ_MESSAGE_HISTORY, {"content": "x", "message_reference": {"message_id": "1"}}, 160002),
        (Permission.NONE, {"content": "x" * 2001}, 50035),
        (Permission.NONE, {"content": ""}, 50006),
        (Permission.NONE, {"content": "x", "nonce": "n" * 26}, 50035),
        (Permission.NONE, {"content": "x", "allowed_mentions": {"parse": ["all"]}}, 50035),
        (Permission.NONE, {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, 50035),
        (Permission.NONE, {"content": "x", "message_reference": {"message_id": "1"}}, 50035),
        (Permission.NONE, {"content": "x", "message_reference": {"message_id": "1", "type": 2}}, 50035),
        (Permission.NONE, {"content": "x", "message_reference": {"type": 0}}, 50035),
        (Permission.NONE, {"message_reference": {"message_id": "1", "type": 1}}, 50035),
        (Permission.NONE, {"content": "x", "nonce": "n", "enforce_nonce": 1}, 50035),
        (Permission.NONE, {"content": "x", "sticker_ids": ["1"]}, 50081),
        (Permission.NONE, {"flags": 1 << 15, "components": []}, 50006),
    ],
)
async def test_messages_that_discord_would_refuse(
    sim: Simulator, guild: Guild, http: aiohttp.ClientSession, denied: Permission, body: Any, code: int
) -> None:
    channel = sim.add_text_channel(guild, "strict", [Overwrite(sim.me(guild), deny=denied)])
    response = await http.post(f"{sim.api_base}/channels/{channel.id}/messages", json=body)
    assert (await response.json())["code"] == code
    assert not channel.messages


async def test_no_message_can_be_sent_in_a_channel_without_messages(
    sim: Simulator, guild: Guild, http: aiohttp.ClientSession
) -> None:
    for place in (sim.add_forum(guild, "showcase"), sim.add_category(guild, "Maps")):
        response = await http.post(f"{sim.api_base}/channels/{place.id}/messages", json={"content": "x"})
        assert (response.status, (await response.json())["code"]) == (400, 50008)


async def test_files_need_their_permission(sim: Simulator, guild: Guild) -> None:
    channel = sim.add_text_channel(guild, "strict", [Overwrite(sim.me(guild), deny=Permission.ATTACH_FILES)])
    async with log_in(sim) as bot:
        with pytest.raises(disnake.Forbidden) as refused:
            await bot.get_channel(channel.id).send(file=new_file())
    assert refused.value.code == 50013


async def test_threads_have_a_permission_of_their_own(bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel) -> None:
    talk = await sim.add_thread(channel, "talk")
    thread = await bot.next("thread_create")
    await sim.set_overwrites(channel, [Overwrite(guild.everyone, deny=Permission.SEND_MESSAGES)])
    await thread.send("in the thread")
    assert (await bot.next("thread_join")).me.id == bot.user.id
    assert [each.content for each in talk.messages.values()] == ["in the thread"]
    await sim.archive_thread(talk)
    (sent,) = [each async for each in thread.history()]
    with pytest.raises(disnake.HTTPException) as archived:
        await sent.edit(content="changed")
    assert archived.value.code == 50083
    await thread.send("open again")
    assert not talk.archived
    await sim.archive_thread(talk, locked=True)
    with pytest.raises(disnake.Forbidden) as locked:
        await thread.send("no")
    assert locked.value.code == 160005
    await sim.set_overwrites(channel, [Overwrite(guild.everyone, deny=Permission.SEND_MESSAGES_IN_THREADS)])
    with pytest.raises(disnake.Forbidden) as refused:
        await thread.send("nor here")
    assert refused.value.code == 50013


async def test_the_bot_cannot_change_messages_of_others(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    posted = await sim.post(channel, steve, "mine")
    message = await bot.next("message")
    with pytest.raises(disnake.Forbidden) as edited:
        await message.edit(content="yours")
    assert edited.value.code == 50005
    with pytest.raises(disnake.Forbidden) as deleted:
        await message.delete()
    assert deleted.value.code == 50013
    await sim.edit_role(guild.everyone, guild.everyone.permissions | Permission.MANAGE_MESSAGES)
    await message.delete()
    assert posted.id not in channel.messages


async def test_a_member_gets_direct_messages(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    assert sim.direct_messages(steve) == []
    person = await bot.fetch_user(steve.id)
    sent = await person.send("it turned up", file=new_file())
    assert (sent.guild, sent.channel.recipient.id) == (None, steve.id)
    (message,) = sim.direct_messages(steve)
    assert (message.id, message.content, message.jump_url) == (sent.id, "it turned up", sent.jump_url)
    assert (await bot.fetch_user(steve.id)).dm_channel.id == message.channel.id
    await person.send("again")
    assert [each.content for each in sim.direct_messages(steve)] == ["it turned up", "again"]
    assert [each.content async for each in person.dm_channel.history(oldest_first=True)] == ["it turned up", "again"]
    assert "message" not in bot.seen
    sim.close_dms(steve)
    with pytest.raises(disnake.Forbidden) as refused:
        await person.send("and again")
    assert refused.value.code == 50007
    assert len(sim.direct_messages(steve)) == 2


async def test_a_stranger_gets_no_direct_message(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    with pytest.raises(disnake.NotFound) as unknown:
        await bot.fetch_user(1)
    assert unknown.value.code == 10013
    person = await bot.fetch_user(steve.id)
    await sim.remove_guild(guild)
    with pytest.raises(disnake.Forbidden) as refused:
        await person.send("are you still there?")
    assert refused.value.code == 50007


async def test_the_bot_receives_direct_messages_with_the_intent(sim: Simulator, channel: Channel, steve: Member) -> None:
    async with log_in(sim, intents=INTENTS | disnake.Intents(dm_messages=True)) as bot:
        posted = await sim.post(sim.direct_channel(steve), steve, "thank you", files=[("a.png", png_file())])
        message = await bot.next("message")
        assert (message.id, message.guild, message.author.id, message.content) == (posted.id, None, steve.id, "thank you")
        assert await message.attachments[0].read() == png_file()


async def test_reactions_are_added_and_removed(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    posted = await sim.post(channel, steve, "look")
    message = await bot.next("message")
    await message.add_reaction("👀")
    assert posted.reactions == {"👀": {sim.application_id}}
    (reaction,) = (await bot.get_channel(channel.id).fetch_message(posted.id)).reactions
    assert (reaction.emoji, reaction.count, reaction.me) == ("👀", 1, True)
    await sim.set_overwrites(channel, [Overwrite(guild.everyone, deny=Permission.ADD_REACTIONS)])
    await message.add_reaction("👀")
    with pytest.raises(disnake.Forbidden) as refused:
        await message.add_reaction("🐉")
    assert refused.value.code == 50013
    with pytest.raises(disnake.NotFound) as unknown:
        await message.add_reaction("dragon:123")
    assert unknown.value.code == 10014
    await message.remove_reaction("👀", bot.user)
    assert posted.reactions == {}


async def test_a_forwarded_message_carries_a_copy(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    source = sim.add_text_channel(guild, "source")
    original = await sim.post(source, steve, "my map", files=[("a.png", png_file())])
    await bot.next("message")
    forward = await sim.post(channel, steve, reference=original, snapshot=True)
    message = await bot.next("message")
    assert (message.content, message.attachments, message.reference.type) == ("", [], disnake.MessageReferenceType.forward)
    assert (message.reference.channel_id, message.reference.message_id) == (source.id, original.id)
    await sim.delete(original)
    (copy,) = (await bot.get_channel(channel.id).fetch_message(forward.id)).message_snapshots
    assert copy.content == "my map"
    assert await copy.attachments[0].read() == png_file()
    assert forward.snapshot is not None
    async with log_in(sim, intents=disnake.Intents(guilds=True, guild_messages=True)) as blind:
        (hidden,) = (await blind.get_channel(channel.id).fetch_message(forward.id)).message_snapshots
        assert (hidden.content, hidden.attachments) == ("", [])
