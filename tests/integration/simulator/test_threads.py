"""Threads and forum posts as the real client sees them."""

import aiohttp
import disnake
import pytest

from contracts.errors import MapSeekError
from infra.sandbox.simulator import Channel, Guild, Member, Overwrite, Permission, Simulator
from tests.support.gateway import RecordingBot, log_in, png_file
from tests.support.waiting import eventually


async def test_threads_and_forum_posts_are_known_at_login(sim: Simulator, guild: Guild, channel: Channel, steve: Member) -> None:
    forum = sim.add_forum(guild, "showcase", nsfw=True)
    talk = await sim.add_thread(channel, "talk", owner=steve)
    piece = await sim.add_thread(forum, "A dragon", owner=steve)
    await sim.add_thread(channel, "old", archived=True)
    await sim.add_thread(channel, "secret", private=True)
    async with log_in(sim) as bot:
        seen = bot.guilds[0]
        assert {(each.id, each.name, each.parent.name) for each in seen.threads} == {
            (talk.id, "talk", "gallery"),
            (piece.id, "A dragon", "showcase"),
        }
        assert isinstance(seen.get_channel(forum.id), disnake.ForumChannel)
        assert seen.get_channel(forum.id).nsfw
        assert seen.get_thread(piece.id).is_nsfw()
        assert [each.id for each in seen.get_channel(forum.id).threads] == [piece.id]
        thread = seen.get_thread(talk.id)
        assert (thread.owner_id, thread.type, thread.archived, thread.me) == (
            steve.id,
            disnake.ChannelType.public_thread,
            False,
            None,
        )
        assert thread.permissions_for(seen.me).send_messages_in_threads


async def test_a_new_thread_and_its_messages_reach_the_client(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member
) -> None:
    talk = await sim.add_thread(channel, "talk", owner=steve)
    thread = await bot.next("thread_create")
    assert (thread.id, thread.parent_id, thread.member_count) == (talk.id, channel.id, 1)
    posted = await sim.post(talk, steve, "here", files=[("a.png", png_file())])
    message = await bot.next("message")
    assert (message.id, message.channel, message.jump_url) == (posted.id, thread, posted.jump_url)
    assert [each.id for each in await thread.history().flatten()] == [posted.id]
    assert (await thread.fetch_message(posted.id)).attachments[0].url
    assert await bot.get_channel(channel.id).history().flatten() == []
    fetched = await bot.fetch_channel(talk.id)
    assert (fetched.message_count, fetched.last_message_id) == (1, posted.id)


async def test_the_first_message_of_a_forum_post_has_its_id(bot: RecordingBot, sim: Simulator, guild: Guild, steve: Member) -> None:
    forum = sim.add_forum(guild, "showcase")
    piece = await sim.add_thread(forum, "A dragon", owner=steve)
    first, second = [await sim.post(piece, steve, text) for text in ("look", "more")]
    assert first.id == piece.id != second.id
    thread = await bot.next("thread_create")
    assert thread.parent.last_thread_id == piece.id
    assert [each.content for each in await thread.history(oldest_first=True).flatten()] == ["look", "more"]
    assert (await bot.fetch_channel(piece.id)).message_count == 1


async def test_a_message_unarchives_a_thread(bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member) -> None:
    talk = await sim.add_thread(channel, "talk")
    thread = await bot.next("thread_create")
    await sim.archive_thread(talk)
    await bot.next("thread_update")
    assert thread.archived
    await sim.post(talk, steve, "still here")
    await bot.next("thread_update")
    assert not thread.archived
    assert (await bot.next("message")).channel is thread


async def test_archived_threads_are_listed_page_by_page_newest_first(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, http: aiohttp.ClientSession
) -> None:
    forum = sim.add_forum(guild, "showcase")
    then = sim.now()
    sim.now = lambda: then
    posts = [await sim.add_thread(forum, f"piece {number}", archived=True) for number in range(5)]
    await sim.add_thread(forum, "active")
    await eventually(lambda: bot.get_channel(forum.id))
    found = [each.id async for each in bot.get_channel(forum.id).archived_threads(limit=None)]
    assert sorted(found) == [each.id for each in posts]
    assert sim.requests["GET /channels/{channel}/threads/archived/public"] == 1
    url, seen, before = f"{sim.api_base}/channels/{forum.id}/threads/archived/public", [], {}
    while True:
        page = await (await http.get(url, params={"limit": 2, **before})).json()
        seen += [int(each["id"]) for each in page["threads"]]
        if not page["has_more"]:
            break
        before = {"before": page["threads"][-1]["thread_metadata"]["archive_timestamp"]}
    assert seen == [each.id for each in reversed(posts)]
    assert [each async for each in bot.get_channel(channel.id).archived_threads()] == []


async def test_only_members_see_a_private_thread(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    secret = await sim.add_thread(channel, "secret", owner=steve, private=True)
    await sim.post(secret, steve, "psst")
    for refused in (bot.fetch_channel(secret.id), bot.http.logs_from(secret.id, 5)):
        with pytest.raises(disnake.Forbidden) as error:
            await refused
        assert error.value.code == 50001
    await sim.join_thread(secret, sim.me(guild))
    thread = await bot.next("thread_join")
    assert thread.is_private()
    assert "message" not in bot.seen
    assert [each.content for each in await thread.history().flatten()] == ["psst"]
    assert (await bot.fetch_channel(secret.id)).me.id == bot.user.id
    await sim.post(secret, steve, "welcome")
    assert (await bot.next("message")).content == "welcome"
    await sim.leave_thread(secret, sim.me(guild))
    assert (await bot.next("thread_remove")).id == secret.id
    with pytest.raises(disnake.Forbidden):
        await thread.history().flatten()


async def test_the_members_of_a_thread_can_be_read(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    secret = await sim.add_thread(channel, "secret", owner=steve, private=True)
    await sim.join_thread(secret, sim.me(guild))
    alex = sim.add_member(guild, "Alex")
    thread = await bot.next("thread_join")
    assert (await thread.fetch_member(steve.id)).id == steve.id
    with pytest.raises(disnake.NotFound) as stranger:
        await thread.fetch_member(alex.id)
    assert stranger.value.code == 10007
    with pytest.raises(disnake.Forbidden) as privileged:
        await thread.fetch_members()
    assert privileged.value.code == 50001
    await sim.join_thread(secret, alex)
    assert (await thread.fetch_member(alex.id)).id == alex.id


async def test_a_bot_that_manages_threads_sees_private_ones(sim: Simulator, channel: Channel, steve: Member) -> None:
    secret = await sim.add_thread(channel, "secret", owner=steve, private=True)
    gone = await sim.add_thread(channel, "gone", owner=steve, private=True, archived=True)
    async with log_in(sim) as bot:
        with pytest.raises(disnake.Forbidden) as refused:
            _ = [each async for each in bot.get_channel(channel.id).archived_threads(private=True)]
        assert refused.value.code == 50013
        assert [each.id for each in await bot.guilds[0].active_threads()] == []
        await sim.edit_role(channel.guild.everyone, channel.guild.everyone.permissions | Permission.MANAGE_THREADS)
        await bot.next("guild_role_update")
        assert [each.id for each in await bot.guilds[0].active_threads()] == [secret.id]
        assert [each.id async for each in bot.get_channel(channel.id).archived_threads(private=True)] == [gone.id]
        assert [each async for each in bot.get_channel(channel.id).archived_threads(private=True, joined=True)] == []


async def test_archived_private_threads_of_the_bot_are_listed(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    mine = [await sim.add_thread(channel, f"secret {number}", owner=steve, private=True) for number in range(3)]
    for thread in mine:
        await sim.join_thread(thread, sim.me(guild))
        await sim.archive_thread(thread)
    listed = [each async for each in bot.get_channel(channel.id).archived_threads(private=True, joined=True)]
    assert {each.id for each in listed} == {each.id for each in mine}


async def test_threads_become_visible_with_their_channel(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    await sim.set_overwrites(channel, [Overwrite(guild.everyone, deny=Permission.VIEW_CHANNEL)])
    talk = await sim.add_thread(channel, "talk", owner=steve)
    await sim.post(talk, steve, "unseen")
    assert "thread_create" not in bot.seen
    await sim.set_overwrites(channel, [])
    assert (await bot.next("thread_join")).id == talk.id
    await sim.post(talk, steve, "seen")
    assert (await bot.next("message")).content == "seen"


async def test_a_deleted_thread_reaches_the_client_and_is_gone(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member
) -> None:
    talk = await sim.add_thread(channel, "talk", owner=steve)
    thread = await bot.next("thread_create")
    await sim.delete_channel(talk)
    assert (await bot.next("thread_delete")).id == talk.id
    with pytest.raises(disnake.NotFound) as refused:
        await thread.history().flatten()
    assert refused.value.code == 10003


async def test_impossible_threads_are_refused(sim: Simulator, guild: Guild, channel: Channel, steve: Member) -> None:
    forum = sim.add_forum(guild, "showcase", [Overwrite(steve, deny=Permission.VIEW_CHANNEL)])
    with pytest.raises(MapSeekError, match="cannot have private threads"):
        await sim.add_thread(forum, "no", private=True)
    talk = await sim.add_thread(channel, "talk")
    with pytest.raises(MapSeekError, match="cannot have public threads"):
        await sim.add_thread(talk, "thread in a thread")
    with pytest.raises(MapSeekError, match="cannot join"):
        await sim.join_thread(await sim.add_thread(forum, "A dragon"), steve)
    await sim.archive_thread(talk)
    with pytest.raises(MapSeekError, match="archived"):
        await sim.join_thread(talk, steve)


async def test_a_command_used_in_a_thread_has_that_thread(
    bot: RecordingBot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    secret = await sim.add_thread(channel, "secret", owner=steve, private=True)
    forum = sim.add_forum(guild, "showcase")
    piece = await sim.add_thread(forum, "A dragon", owner=steve)
    await bot.next("thread_create")
    for place, parent in ((piece, forum), (secret, channel)):
        await sim.slash(place, steve, "find", attachments={"image": ("q.png", png_file())})
        inter = await bot.next("application_command")
        assert isinstance(inter.channel, disnake.Thread)
        assert (inter.channel.id, inter.channel.parent_id) == (place.id, parent.id)
        assert inter.channel.parent.id == parent.id
        assert inter.permissions.send_messages_in_threads
    alex = sim.add_member(guild, "Alex")
    with pytest.raises(MapSeekError):
        await sim.slash(secret, alex, "find", attachments={"image": ("q.png", png_file())})


async def test_a_thread_started_from_a_message_has_its_id(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member
) -> None:
    posted = await sim.post(channel, steve, "my map", files=[("a.png", png_file())])
    await bot.next("message")
    talk = await sim.add_thread(channel, "about it", owner=steve, message=posted)
    thread = await bot.next("thread_create")
    assert thread.id == talk.id == posted.id
    starter = await bot.next("message")
    assert (starter.type, starter.channel, starter.attachments) == (disnake.MessageType.thread_starter_message, thread, [])
    assert starter.reference.resolved.attachments[0].filename == "a.png"
    marked = (await bot.next("raw_message_edit")).data
    assert (len(marked["attachments"]), marked["edited_timestamp"]) == (1, None)
    message = await bot.get_channel(channel.id).fetch_message(posted.id)
    assert message.flags.has_thread
    assert message.thread is thread
    assert (await bot.fetch_channel(talk.id)).message_count == 1
    with pytest.raises(MapSeekError):
        await sim.add_thread(channel, "no", private=True, message=posted)
