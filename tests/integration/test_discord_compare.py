"""Comparing Discord with the log over REST: the real client against the simulator, without a gateway."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.envelope import Origin
from contracts.events import DiscordFile, ImageHidden
from contracts.state import Backfill, ForgetRequest, GuildSettings, HighWaterMark
from contracts.subjects import backfill_key, forgotten_key, mark_key, settings_key
from infra.discord.gateway import simulator_endpoint
from infra.discord.rest.client import RestClient
from infra.discord.rest.compare import ChannelDifference, compare_guild, read_watch_state, record_difference
from infra.discord.rest.permissions import fetch_bot
from infra.sandbox.simulator import Channel, Message, Overwrite, Permission
from tests.support.archives import PictureHistory, list_file_ids
from tests.support.facts import posted
from tests.support.fakes import MemoryJournal, MemoryPosts, MemoryState, MemoryUnreadable
from tests.support.world import Discord, simulated_discord

NOW = datetime.now(UTC)

UNREADABLE: list[dict[str, Any]] = [
    {"attachments": "?"},
    {"attachments": [{"id": "1"}]},
    {"author": None},
    {"embeds": [7]},
    {"components": [{"items": 7}]},
    {"message_snapshots": [{}]},
    {"flags": "loud"},
]
"""Fields that make a message unreadable."""


@dataclass
class ComparedGuild:
    """A guild, its stored state, and the images that the log is assumed to have."""

    discord: Discord
    past: PictureHistory
    rest: RestClient
    state: MemoryState = field(default_factory=MemoryState)
    known: dict[int, dict[int, list[str]]] = field(default_factory=dict)
    journal: MemoryJournal = field(default_factory=MemoryJournal)

    async def archive(self, *messages: Message) -> None:
        for message in messages:
            for file in message.attachments:
                await self.archive_image(message, str(file.id))

    async def archive_image(self, message: Message, image_id: str, **fields: Any) -> None:
        place = {"channel_id": str(message.channel.id), "message_id": str(message.id)}
        post = posted(image_id, str(message.channel.guild.id)).model_copy(update=place | fields)
        await self.journal.record(post, Origin("test"))
        self.known.setdefault(message.channel.id, {}).setdefault(message.id, []).append(image_id)

    async def mark(self, channel: Channel, message_id: int = 1) -> None:
        """Set the high-water mark of a channel."""
        mark = HighWaterMark(message_id=str(message_id), heard_at=NOW)
        await self.state.put(mark_key(str(channel.guild.id), str(channel.id)), mark.model_dump_json().encode())

    async def compare(
        self, channels: str = "all", *, until: datetime | None = None, only: Channel | None = None
    ) -> list[ChannelDifference]:
        """Return the differences of the guild's channels, without the empty ones."""
        watching = await read_watch_state(self.state, frozenset(channels.split()), lambda: NOW)
        async with self.rest.client_for("") as client:
            bot = await fetch_bot(client)
        until, one = until or datetime.now(UTC) + timedelta(minutes=1), only and only.id
        found = compare_guild(
            self.rest, bot, watching, MemoryPosts(self.journal), str(self.discord.guild.id), self.known, until, one
        )
        return [
            each
            async for each in found
            if each.missed or each.gone or each.changes or each.unread or each.unreadable or each.vanished
        ]


@pytest.fixture
async def compared_guild() -> AsyncIterator[ComparedGuild]:
    async with simulated_discord() as discord:
        simulator_endpoint(discord.simulator.api_base).use()
        async with RestClient(discord.simulator.token) as rest:
            yield ComparedGuild(discord, PictureHistory(discord), rest)


def list_missed(found: list[ChannelDifference]) -> list[str]:
    return sorted(post.image_id for each in found for post in each.missed)


async def test_pages_are_compared_one_by_one_and_each_is_read_once(compared_guild: ComparedGuild) -> None:
    messages = await compared_guild.past.post(compared_guild.discord.gallery, 250)
    await compared_guild.mark(compared_guild.discord.gallery)
    await compared_guild.archive(*messages[:100], *messages[130:])
    await compared_guild.discord.simulator.delete(messages[5])
    await compared_guild.discord.simulator.delete(messages[249])
    found = await compared_guild.compare()
    assert list_missed(found) == list_file_ids(messages[100:130])
    assert sorted(image for each in found for image in each.gone) == list_file_ids([messages[5], messages[249]])
    assert sorted(deleted for each in found for deleted in each.deleted) == [messages[5].id, messages[249].id]
    assert len(found) == 3


async def test_only_messages_between_the_start_of_the_watch_and_the_call_count(compared_guild: ComparedGuild) -> None:
    begin = NOW - timedelta(days=2)
    old, watched, late = await compared_guild.past.post(compared_guild.discord.gallery, 3, begin=begin, every=timedelta(days=1))
    until = NOW - timedelta(hours=1)
    assert await compared_guild.compare(until=until) == [], "no message of it was ever recorded"
    await compared_guild.mark(compared_guild.discord.gallery, old.id)
    assert list_missed(await compared_guild.compare(until=until)) == list_file_ids([watched])
    filled = Backfill(
        channel_id="1",
        sources=(str(compared_guild.discord.gallery.id),),
        since="1",
        until=str(watched.id),
        position="1",
        done=1,
        requested_by="1",
        requested_at=NOW,
    )
    key = backfill_key(str(compared_guild.discord.guild.id), str(compared_guild.discord.gallery.id))
    await compared_guild.state.put(key, filled.model_dump_json().encode())
    assert list_missed(await compared_guild.compare(until=until)) == list_file_ids([old, watched])
    assert list_missed(await compared_guild.compare()) == list_file_ids([old, watched, late])


async def test_with_a_slow_clock_no_later_message_counts_as_gone(compared_guild: ComparedGuild) -> None:
    """A full page reaches beyond the messages that count, and images of the log there are ignored too."""
    messages = await compared_guild.past.post(
        compared_guild.discord.gallery, 60, begin=NOW - timedelta(days=1), every=timedelta(minutes=1)
    )
    await compared_guild.mark(compared_guild.discord.gallery)
    later = await compared_guild.past.post(
        compared_guild.discord.gallery, 60, begin=NOW - timedelta(hours=1), every=timedelta(minutes=1)
    )
    await compared_guild.archive(*messages, *later)
    await compared_guild.discord.simulator.delete(messages[5])
    [difference] = await compared_guild.compare(until=NOW - timedelta(hours=2))
    assert difference.deleted == [messages[5].id]


async def test_missed_posts_are_found_in_watched_channels_and_deleted_ones_in_all(compared_guild: ComparedGuild) -> None:
    simulator, guild = compared_guild.discord.simulator, compared_guild.discord.guild
    annex = simulator.add_text_channel(guild, "annex")
    first, second = await compared_guild.past.post(annex, 2)
    [shown] = await compared_guild.past.post(compared_guild.discord.gallery)
    for channel in (annex, compared_guild.discord.gallery):
        await compared_guild.mark(channel)
    await compared_guild.archive(first)
    settings = GuildSettings(watched=(str(compared_guild.discord.gallery.id),))
    await compared_guild.state.put(settings_key(str(guild.id)), settings.model_dump_json().encode())
    assert list_missed(await compared_guild.compare("")) == list_file_ids([shown])
    await simulator.delete(first)
    [gone] = [each for each in await compared_guild.compare("") if each.gone]
    assert (gone.channel_id, gone.name, list(gone.gone)) == (str(annex.id), "#annex", list_file_ids([first]))
    assert list_missed(await compared_guild.compare(str(annex.id))) == list_file_ids([shown, second])
    assert list_missed(await compared_guild.compare(only=annex)) == list_file_ids([second])


async def test_threads_count_from_their_beginning_also_archived_ones(compared_guild: ComparedGuild) -> None:
    simulator = compared_guild.discord.simulator
    await compared_guild.mark(compared_guild.discord.gallery)
    forum = simulator.add_forum(compared_guild.discord.guild, "projects")
    await compared_guild.mark(forum)
    posts = []
    for parent in (compared_guild.discord.gallery, forum):
        for archived in (False, True):
            thread = await simulator.add_thread(parent, "a thread", owner=compared_guild.discord.steve)
            posts += await compared_guild.past.post(thread)
            if archived:
                await simulator.archive_thread(thread)
    assert list_missed(await compared_guild.compare()) == list_file_ids(posts)


async def test_images_removed_by_an_edit_or_with_a_channel_are_gone(compared_guild: ComparedGuild) -> None:
    simulator = compared_guild.discord.simulator
    annex = simulator.add_text_channel(compared_guild.discord.guild, "annex")
    [edited] = await compared_guild.past.post(compared_guild.discord.gallery, pictures=2)
    doomed = await compared_guild.past.post(annex, 2)
    await compared_guild.archive(edited, *doomed)
    await compared_guild.archive_image(edited, f"{edited.id}-0", source=DiscordFile(url="https://e.org/a.png"))
    await compared_guild.archive_image(edited, f"{edited.id}-1", source=DiscordFile(url="https://e.org/b.png"))
    await simulator.edit(edited, embeds=[{"type": "image", "thumbnail": {"url": "https://e.org/b.png"}}])
    kept, dropped = edited.attachments
    await simulator.edit(edited, attachments=[kept])
    await simulator.delete_channel(annex)
    of_edit, of_channel = await compared_guild.compare()
    assert sorted(of_edit.gone) == sorted([str(dropped.id), f"{edited.id}-0"])
    assert sorted(change.type_name() for change in of_edit.changes) == ["image.hidden", "removal.requested"]
    assert (of_channel.vanished, sorted(of_channel.gone)) == (True, list_file_ids(doomed))


async def test_an_unreadable_channel_is_named_and_its_images_do_not_count_as_gone(compared_guild: ComparedGuild) -> None:
    simulator, guild = compared_guild.discord.simulator, compared_guild.discord.guild
    await compared_guild.archive(*await compared_guild.past.post(compared_guild.discord.gallery))
    me = simulator.me(guild)
    await simulator.set_overwrites(compared_guild.discord.gallery, [Overwrite(me, deny=Permission.READ_MESSAGE_HISTORY)])
    [found] = await compared_guild.compare()
    assert (found.unreadable, found.name, found.gone) == (True, "#gallery", ())
    await simulator.remove_guild(guild)
    [found] = await compared_guild.compare()
    assert (found.unreadable, found.channel_id) == (True, "")


async def test_what_an_edit_brought_or_brought_back_is_found(compared_guild: ComparedGuild) -> None:
    discord = compared_guild.discord
    await compared_guild.mark(discord.gallery)
    shown = {"embeds": [{"type": "image", "thumbnail": {"url": f"https://e.org/{name}.png"}} for name in "ab"]}
    message = await discord.simulator.post_payload(discord.gallery, shown, by=discord.steve)
    await compared_guild.archive_image(message, f"{message.id}-0", source=DiscordFile(url="https://e.org/a.png"))
    place = {"channel_id": str(discord.gallery.id), "message_id": str(message.id), "guild_id": str(discord.guild.id)}
    hidden = ImageHidden(**place, image_id=f"{message.id}-0", turn=1, hidden_at=NOW)
    await compared_guild.journal.record(hidden, Origin("test"))
    [found] = await compared_guild.compare()
    assert ([post.filename for post in found.missed], found.shown_again, found.gone) == (["b.png"], [f"{message.id}-0"], [])


@pytest.mark.parametrize("fields", UNREADABLE)
async def test_a_message_that_cannot_be_read_costs_no_other(compared_guild: ComparedGuild, fields: dict[str, Any]) -> None:
    discord = compared_guild.discord
    await compared_guild.mark(discord.gallery)
    [before] = await compared_guild.past.post(discord.gallery)
    unreadable = await discord.simulator.post_payload(discord.gallery, fields, by=discord.steve)
    [after] = await compared_guild.past.post(discord.gallery)
    [gone] = await compared_guild.past.post(discord.gallery)
    await compared_guild.archive(gone)
    await discord.simulator.delete(gone)
    [found] = await compared_guild.compare()
    assert list_missed([found]) == list_file_ids([before, after])
    assert list(found.deleted) == [gone.id]
    kept = MemoryUnreadable()
    posts = MemoryPosts(compared_guild.journal)
    assert await record_difference(found, compared_guild.journal, posts, kept, lambda: NOW) == (2, 1)
    assert list(kept.kept) == [(str(discord.guild.id), str(unreadable.id))]


async def test_posts_of_forgotten_members_are_not_missed(compared_guild: ComparedGuild) -> None:
    await compared_guild.mark(compared_guild.discord.gallery)
    await compared_guild.past.post(compared_guild.discord.gallery)
    forgotten = ForgetRequest(until=datetime.now(UTC) + timedelta(minutes=1))
    key = forgotten_key(str(compared_guild.discord.guild.id), str(compared_guild.discord.steve.id))
    await compared_guild.state.put(key, forgotten.model_dump_json().encode())
    assert await compared_guild.compare() == []
