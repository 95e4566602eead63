"""What Discord has today: components of version 2, other kinds of channels, webhooks, crossposts, time-outs, spoilers, previews."""

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import disnake
import pytest
from disnake import ui

from contracts.errors import MapSeekError
from infra.sandbox.simulator import (
    GUILD_ANNOUNCEMENT,
    GUILD_MEDIA,
    GUILD_STAGE_VOICE,
    GUILD_VOICE,
    Channel,
    Guild,
    Interaction,
    Member,
    Message,
    Overwrite,
    Permission,
    Simulator,
)
from tests.support.gateway import RecordingBot, log_in, new_file, png_file, webhook

PREVIEW = {"type": "image", "url": "https://example.org/a.png", "thumbnail": {"url": "https://example.org/a.png"}}


def gallery(*urls: str, **fields: Any) -> dict[str, Any]:
    return {"type": 12, "items": [{"media": {"url": url}, **fields} for url in urls]}


@pytest.fixture
def news(sim: Simulator, guild: Guild) -> Channel:
    return sim.add_channel(guild, "news", GUILD_ANNOUNCEMENT)


async def test_pictures_that_components_show_are_no_attachments(
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    files = [("a.png", png_file(5, 4)), ("b.png", png_file()), ("notes.txt", b"notes"), ("c.png", png_file())]
    section = {
        "type": 9,
        "components": [{"type": 10, "content": "new"}],
        "accessory": {"type": 11, "media": {"url": "attachment://b.png"}, "spoiler": True},
    }
    inside = [gallery("attachment://a.png", "https://example.org/x.png"), section, {"type": 14}]
    components = [{"type": 17, "components": inside}, {"type": 13, "file": {"url": "attachment://notes.txt"}}]
    posted = await sim.post(channel, steve, files=files, components=components)
    message = await bot.next("message")
    assert message.flags.is_components_v2
    assert [each.filename for each in message.attachments] == ["c.png"]
    container, file = message.components
    shown, sect, separator = container.children
    first, second = shown.items
    assert (first.media.width, first.media.height, first.media.attachment_id) == (5, 4, posted.attachments[0].id)
    assert await (await http.get(first.media.url)).read() == png_file(5, 4)
    assert (second.media.url, second.media.attachment_id) == ("https://example.org/x.png", None)
    assert (sect.children[0].content, sect.accessory.spoiler, separator.divider) == ("new", True, True)
    assert (file.name, file.size) == ("notes.txt", 5)
    fetched = await bot.get_channel(channel.id).fetch_message(posted.id)
    assert [each.id for each in fetched.components] == [container.id, file.id]
    await sim.edit(posted, components=[gallery("attachment://c.png")])
    edited = (await bot.next("raw_message_edit")).data
    assert [each["filename"] for each in edited["attachments"]] == ["a.png", "b.png", "notes.txt"]


async def test_a_forwarded_message_brings_its_components(
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member
) -> None:
    original = await sim.post(channel, steve, components=[gallery("attachment://a.png")], files=[("a.png", png_file())])
    await sim.post(channel, steve, reference=original, snapshot=True)
    await bot.next("message")
    [copied] = (await bot.next("message")).message_snapshots
    assert copied.attachments == []
    assert copied.components[0].items[0].media.attachment_id == original.attachments[0].id


async def test_the_bot_sends_components_of_version_2(
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    layout = [
        ui.Container(
            ui.Section("found", accessory=ui.Button(label="Why", custom_id="why")),
            ui.MediaGallery(disnake.MediaGalleryItem("attachment://t.png", description="the map", spoiler=True)),
            ui.ActionRow(ui.Button(label="Next", custom_id="turn:2")),
        )
    ]
    sent = await bot.get_channel(channel.id).send(components=layout, file=new_file())
    assert (sent.attachments, sent.flags.is_components_v2) == ([], True)
    item = sent.components[0].children[1].items[0]
    assert (item.description, item.spoiler, await (await http.get(item.media.url)).read()) == ("the map", True, b"pixels")
    await sim.press(channel.messages[sent.id], steve, label="Why")
    assert (await bot.next("button_click")).component.custom_id == "why"
    url = f"{sim.api_base}/channels/{channel.id}/messages/{sent.id}"
    text = {"components": [{"type": 10, "content": "gone"}], "attachments": []}
    assert (await http.patch(url, json={"content": "text"})).status == 400
    assert (await http.patch(url, json={"components": []})).status == 400
    assert (await http.patch(url, json={**text, "flags": 0})).status == 200
    assert channel.messages[sent.id].flags == 1 << 15


async def test_an_interaction_is_answered_with_components_of_version_2(
    sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession
) -> None:
    edited = await webhook(sim, http, interaction.token).edit_message("@original", components=[ui.TextDisplay("found")])
    assert edited.flags.is_components_v2
    assert (await sim.answer(interaction)).components == [{"type": 10, "id": 1, "content": "found"}]


@pytest.mark.parametrize(
    ("kind", "seen_as"),
    [(GUILD_VOICE, disnake.VoiceChannel), (GUILD_STAGE_VOICE, disnake.StageChannel), (GUILD_ANNOUNCEMENT, disnake.TextChannel)],
)
async def test_voice_stage_and_announcement_channels_have_messages(
    sim: Simulator, bot: RecordingBot, guild: Guild, steve: Member, kind: int, seen_as: type
) -> None:
    place = sim.add_channel(guild, "place", kind)
    created = await bot.next("guild_channel_create")
    assert (type(created), created.type.value) == (seen_as, kind)
    posted = await sim.post(place, steve, files=[("a.png", png_file())])
    assert (await bot.next("message")).id == posted.id
    assert [each.id async for each in created.history()] == [posted.id]
    assert (await created.send("seen")).channel.id == place.id
    await sim.slash(place, steve, "find", attachments={"image": ("q.png", png_file())})
    assert (await bot.next("application_command")).channel.id == place.id


@pytest.mark.parametrize("kind", [GUILD_VOICE, GUILD_STAGE_VOICE])
async def test_a_voice_chat_is_read_only_by_who_may_connect(sim: Simulator, guild: Guild, steve: Member, kind: int) -> None:
    closed = sim.add_channel(guild, "closed", kind, [Overwrite(sim.me(guild), deny=Permission.CONNECT)])
    opened = sim.add_channel(guild, "open", kind)
    async with log_in(sim) as bot:
        await sim.post(closed, steve, "secret")
        await sim.post(opened, steve, "hello")
        assert (await bot.next("message")).content == "hello"
        with pytest.raises(disnake.Forbidden) as refused:
            await bot.get_channel(closed.id).history().flatten()
        assert refused.value.code == 50001
        for place in (closed, opened):
            mine = bot.get_channel(place.id).permissions_for(bot.get_guild(guild.id).me)
            assert mine.read_message_history == (place is opened)


async def test_threads_of_announcement_and_media_channels(
    sim: Simulator, bot: RecordingBot, guild: Guild, news: Channel, steve: Member
) -> None:
    media = sim.add_channel(guild, "showcase", GUILD_MEDIA)
    talk = await sim.add_thread(news, "talk", owner=steve)
    assert (await bot.next("thread_create")).type is disnake.ChannelType.news_thread
    post = await sim.add_thread(media, "my map", owner=steve)
    seen = await bot.next("thread_create")
    assert isinstance(seen.parent, disnake.MediaChannel)
    posted = await sim.post(post, steve, files=[("a.png", png_file())])
    assert posted.id == post.id == (await bot.next("message")).id
    with pytest.raises(MapSeekError, match="has no messages of its own"):
        await sim.post(media, steve, "x")
    with pytest.raises(MapSeekError, match="private"):
        await sim.add_thread(news, "secret", private=True)
    voice = sim.add_channel(guild, "lounge", GUILD_VOICE)
    with pytest.raises(MapSeekError, match="public"):
        await sim.add_thread(voice, "no")
    await sim.archive_thread(talk)
    archived = [each async for each in bot.get_channel(news.id).archived_threads()]
    assert [(each.id, each.type) for each in archived] == [(talk.id, disnake.ChannelType.news_thread)]


async def read_crosspost(bot: RecordingBot, copy: Message) -> disnake.Message:
    return await bot.get_channel(copy.channel.id).fetch_message(copy.id)


async def test_a_crosspost_follows_its_source(
    sim: Simulator, bot: RecordingBot, news: Channel, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    hook = await sim.follow(news, channel)
    original = await sim.post(news, steve, "new map", files=[("a.png", png_file())], embeds=[PREVIEW])
    await bot.next("message")
    [copy] = await sim.crosspost(original)
    assert (await bot.next("raw_message_edit")).data["flags"] == 1 << 0
    message = await bot.next("message")
    assert (message.flags.is_crossposted, message.webhook_id, message.author.id) == (True, hook.id, hook.id)
    assert (message.author.name, message.type, message.content) == ("Mapmakers #news", disnake.MessageType.default, "new map")
    assert (message.reference.channel_id, message.reference.message_id) == (news.id, original.id)
    assert await message.attachments[0].read() == png_file()
    await sim.edit(original, content="my new map", embeds=[])
    assert ((await read_crosspost(bot, copy)).content, (await read_crosspost(bot, copy)).embeds) == ("my new map", [])
    with pytest.raises(MapSeekError, match="only once"):
        await sim.crosspost(original)
    other = (await sim.crosspost(await sim.post(news, steve, "other", files=[("b.png", png_file())])))[0]
    await sim.delete(other)
    assert other.source is not None
    assert (await http.get(other.source.attachments[0].url)).status == 200
    await sim.delete(original)
    gone = await read_crosspost(bot, copy)
    assert (gone.content, gone.attachments, gone.flags.source_message_deleted) == ("[Original Message Deleted]", [], True)
    assert (await http.get(message.attachments[0].url)).status == 404
    with pytest.raises(MapSeekError, match="no announcement channel"):
        await sim.follow(channel, news)


async def test_a_webhook_posts_and_edits(sim: Simulator, bot: RecordingBot, channel: Channel) -> None:
    hook = sim.add_webhook(channel, "Feed")
    posted = await sim.post(channel, hook, "map of the day", files=[("a.png", png_file())])
    message = await bot.next("message")
    assert (message.webhook_id, message.author.id, message.author.name, message.author.bot) == (hook.id, hook.id, "Feed", True)
    assert not isinstance(message.author, disnake.Member)
    await sim.edit(posted, attachments=[], files=[("b.png", png_file())])
    edited = (await bot.next("raw_message_edit")).data
    assert [each["filename"] for each in edited["attachments"]] == ["b.png"]
    thread = await sim.add_thread(channel, "talk")
    assert (await sim.post_payload(thread, {"content": "odd"}, by=hook)).webhook is hook
    assert (await bot.next("message")).content == "odd"


async def test_a_member_in_a_time_out_only_reads(
    sim: Simulator, bot: RecordingBot, guild: Guild, channel: Channel, steve: Member
) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    await sim.time_out(steve, until)
    with pytest.raises(MapSeekError, match="in a time-out"):
        await sim.post(channel, steve, "x")
    with pytest.raises(MapSeekError, match="in a time-out"):
        await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file())})
    fetched = await bot.get_guild(guild.id).fetch_member(steve.id)
    assert fetched.current_timeout == until
    sim.now = lambda: until
    assert (await sim.post(channel, steve, "back")).id == (await bot.next("message")).id
    await sim.time_out(sim.me(guild), until + timedelta(hours=1))
    with pytest.raises(disnake.Forbidden) as refused:
        await bot.get_channel(channel.id).send("x")
    assert refused.value.code == 50013
    await sim.time_out(sim.me(guild), None)
    await bot.get_channel(channel.id).send("x")
    chief = sim.add_member(guild, "Chief", [sim.add_role(guild, "Chiefs", Permission.ADMINISTRATOR)])
    for leader in (guild.members[guild.owner_id], chief):
        with pytest.raises(MapSeekError, match="cannot be put in a time-out"):
            await sim.time_out(leader, until)


async def test_spoilers_are_marked_by_flag_or_by_name(
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    names = ("plain.png", "SPOILER_a.png", "b.png")
    await sim.post(channel, steve, files=[(name, png_file()) for name in names], spoilers=["b.png"])
    message = await bot.next("message")
    assert [(each.filename, each.flags.value) for each in message.attachments] == [
        ("plain.png", 0),
        ("SPOILER_a.png", 8),
        ("b.png", 8),
    ]
    sent = await bot.get_channel(channel.id).send(file=disnake.File(new_file().fp, "c.png", spoiler=True))
    assert sent.attachments[0].is_spoiler()
    form = aiohttp.FormData()
    form.add_field("payload_json", '{"attachments": [{"id": 0, "is_spoiler": true, "description": "a map"}]}')
    form.add_field("files[0]", png_file(), filename="d.png")
    [attachment] = (await (await http.post(f"{sim.api_base}/channels/{channel.id}/messages", data=form)).json())["attachments"]
    assert (attachment["flags"], attachment["filename"], attachment["description"]) == (8, "d.png", "a map")


async def test_a_preview_is_cleared_and_comes_back(sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member) -> None:
    posted = await sim.post(channel, steve, PREVIEW["url"], embeds=[PREVIEW])
    await sim.suppress_embeds(posted)
    hidden = (await bot.next("raw_message_edit")).data
    assert (hidden["embeds"], hidden["flags"], hidden["edited_timestamp"]) == ([], 4, None)
    await sim.suppress_embeds(posted, False)
    shown = (await bot.next("raw_message_edit")).data
    assert ([each["url"] for each in shown["embeds"]], shown["flags"]) == ([PREVIEW["url"]], 0)


async def test_an_answer_is_edited_with_mentions_and_flags(
    sim: Simulator, interaction: Interaction, guild: Guild, steve: Member, http: aiohttp.ClientSession
) -> None:
    role, url = (
        sim.add_role(guild, "Makers"),
        f"{sim.api_base}/webhooks/{sim.application_id}/{interaction.token}/messages/@original",
    )

    async def edit(**body: Any) -> dict[str, Any]:
        response = await http.patch(url, json=body)
        assert response.status == 200
        return dict(await response.json())

    text = f"<@{steve.id}> of <@&{role.id}>: @everyone"
    mentioned = await edit(content=text, embeds=[{"title": "t"}])
    assert ([each["id"] for each in mentioned["mentions"]], mentioned["mention_roles"]) == ([str(steve.id)], [str(role.id)])
    assert not mentioned["mention_everyone"]
    silent = await edit(allowed_mentions={"parse": []}, flags=4)
    assert (silent["mentions"], silent["mention_roles"], silent["flags"], silent["embeds"]) == ([], [], 4, [])
    some = await edit(content=text, allowed_mentions={"parse": ["roles"], "users": [str(interaction.user.id)]}, flags=0)
    assert ([each["id"] for each in some["mentions"]], some["flags"]) == ([str(steve.id)], 0)
    assert len(some["embeds"]) == 1
    await sim.edit_role(guild.everyone, guild.everyone.permissions | Permission.MENTION_EVERYONE)
    assert (await edit(content="@here"))["mention_everyone"]
