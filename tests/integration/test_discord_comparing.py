"""What Discord shows against what the log has, by REST alone: the real client beside the simulator, and no gateway."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from contracts.state import Backfill, ForgetRequest, GuildSettings, HighWaterMark
from contracts.subjects import backfill_key, forgotten_key, mark_key, settings_key
from infra.discord.gateway import simulator_endpoint
from infra.discord.rest.client import RestClient
from infra.discord.rest.compare import ChannelDifference, compare_guild, read_watch_state
from infra.discord.rest.permissions import fetch_bot
from infra.sandbox.simulator import Channel, Message, Overwrite, Permission
from tests.support.archives import PictureHistory, list_file_ids
from tests.support.fakes import MemoryState
from tests.support.world import Discord, simulated_discord

NOW = datetime.now(UTC)


@dataclass
class Comparing:
    """A guild, what is stored of it, and what the log is said to know."""

    discord: Discord
    past: PictureHistory
    rest: RestClient
    state: MemoryState = field(default_factory=MemoryState)
    known: dict[int, dict[int, list[str]]] = field(default_factory=dict)

    def know(self, *messages: Message) -> None:
        for message in messages:
            self.known.setdefault(message.channel.id, {})[message.id] = [str(file.id) for file in message.attachments]

    async def mark(self, channel: Channel, message_id: int = 1) -> None:
        """The channel was heard up to there."""
        mark = HighWaterMark(message_id=str(message_id), heard_at=NOW)
        await self.state.put(mark_key(str(channel.guild.id), str(channel.id)), mark.model_dump_json().encode())

    async def compare(
        self, channels: str = "all", *, until: datetime | None = None, only: Channel | None = None
    ) -> list[ChannelDifference]:
        """All differences of the guild, without those in which there is none."""
        watching = await read_watch_state(self.state, frozenset(channels.split()), lambda: NOW)
        async with self.rest.client_for("") as client:
            bot = await fetch_bot(client)
        until, one = until or datetime.now(UTC) + timedelta(minutes=1), only and only.id
        found = compare_guild(self.rest, bot, watching, str(self.discord.guild.id), self.known, until, one)
        return [each async for each in found if each.missed or each.gone or each.unreadable or each.vanished]


@pytest.fixture
async def comparing() -> AsyncIterator[Comparing]:
    async with simulated_discord() as discord:
        simulator_endpoint(discord.simulator.api_base).use()
        async with RestClient(discord.simulator.token) as rest:
            yield Comparing(discord, PictureHistory(discord), rest)


def missed(found: list[ChannelDifference]) -> list[str]:
    return sorted(post.image_id for each in found for post in each.missed)


async def test_pages_are_compared_one_by_one_and_each_is_asked_for_once(comparing: Comparing) -> None:
    messages = await comparing.past.post(comparing.discord.gallery, 250)
    await comparing.mark(comparing.discord.gallery)
    comparing.know(*messages[:100], *messages[130:])
    await comparing.discord.simulator.delete(messages[5])
    await comparing.discord.simulator.delete(messages[249])
    found = await comparing.compare()
    assert missed(found) == list_file_ids(messages[100:130])
    assert sorted(image for each in found for image in each.gone) == list_file_ids([messages[5], messages[249]])
    assert sorted(deleted for each in found for deleted in each.deleted) == [messages[5].id, messages[249].id]
    assert len(found) == 3


async def test_only_what_is_older_than_the_call_and_younger_than_the_watch_counts(comparing: Comparing) -> None:
    begin = NOW - timedelta(days=2)
    old, watched, late = await comparing.past.post(comparing.discord.gallery, 3, begin=begin, every=timedelta(days=1))
    until = NOW - timedelta(hours=1)
    assert await comparing.compare(until=until) == [], "nothing of it was ever heard"
    await comparing.mark(comparing.discord.gallery, old.id)
    assert missed(await comparing.compare(until=until)) == list_file_ids([watched])
    filled = Backfill(
        channel_id="1",
        sources=(str(comparing.discord.gallery.id),),
        since="1",
        until=str(watched.id),
        position="1",
        done=1,
        requested_by="1",
        requested_at=NOW,
    )
    key = backfill_key(str(comparing.discord.guild.id), str(comparing.discord.gallery.id))
    await comparing.state.put(key, filled.model_dump_json().encode())
    assert missed(await comparing.compare(until=until)) == list_file_ids([old, watched])
    assert missed(await comparing.compare()) == list_file_ids([old, watched, late])


async def test_with_a_clock_that_is_slow_nothing_of_what_was_heard_since_is_gone(comparing: Comparing) -> None:
    """A full page reaches beyond what counts, and what the log knows there is left alone too."""
    messages = await comparing.past.post(comparing.discord.gallery, 60, begin=NOW - timedelta(days=1), every=timedelta(minutes=1))
    await comparing.mark(comparing.discord.gallery)
    later = await comparing.past.post(comparing.discord.gallery, 60, begin=NOW - timedelta(hours=1), every=timedelta(minutes=1))
    comparing.know(*messages, *later)
    await comparing.discord.simulator.delete(messages[5])
    [difference] = await comparing.compare(until=NOW - timedelta(hours=2))
    assert difference.deleted == [messages[5].id]


async def test_only_watched_channels_are_missed_but_what_is_gone_is_gone_everywhere(comparing: Comparing) -> None:
    simulator, guild = comparing.discord.simulator, comparing.discord.guild
    annex = simulator.add_text_channel(guild, "annex")
    first, second = await comparing.past.post(annex, 2)
    [shown] = await comparing.past.post(comparing.discord.gallery)
    for channel in (annex, comparing.discord.gallery):
        await comparing.mark(channel)
    comparing.know(first)
    settings = GuildSettings(watched=(str(comparing.discord.gallery.id),))
    await comparing.state.put(settings_key(str(guild.id)), settings.model_dump_json().encode())
    assert missed(await comparing.compare("")) == list_file_ids([shown])
    await simulator.delete(first)
    [gone] = [each for each in await comparing.compare("") if each.gone]
    assert (gone.channel_id, gone.name, list(gone.gone)) == (str(annex.id), "#annex", list_file_ids([first]))
    assert missed(await comparing.compare(str(annex.id))) == list_file_ids([shown, second])
    assert missed(await comparing.compare(only=annex)) == list_file_ids([second])


async def test_threads_count_from_their_beginning_archived_ones_too(comparing: Comparing) -> None:
    simulator = comparing.discord.simulator
    await comparing.mark(comparing.discord.gallery)
    forum = simulator.add_forum(comparing.discord.guild, "projects")
    await comparing.mark(forum)
    posts = []
    for parent in (comparing.discord.gallery, forum):
        for archived in (False, True):
            thread = await simulator.add_thread(parent, "a thread", owner=comparing.discord.steve)
            posts += await comparing.past.post(thread)
            if archived:
                await simulator.archive_thread(thread)
    assert missed(await comparing.compare()) == list_file_ids(posts)


async def test_what_an_edit_dropped_is_gone_and_a_deleted_channel_with_all_of_it(comparing: Comparing) -> None:
    simulator = comparing.discord.simulator
    annex = simulator.add_text_channel(comparing.discord.guild, "annex")
    [edited] = await comparing.past.post(comparing.discord.gallery, pictures=2)
    doomed = await comparing.past.post(annex, 2)
    comparing.know(edited, *doomed)
    comparing.known[comparing.discord.gallery.id][edited.id].append(f"{edited.id}-0")
    kept, dropped = edited.attachments
    await simulator.edit(edited, attachments=[kept])
    await simulator.delete_channel(annex)
    of_edit, of_channel = await comparing.compare()
    assert (list(of_edit.gone), of_edit.edited) == ([str(dropped.id)], {edited.id: frozenset({str(kept.id)})})
    assert (of_channel.vanished, sorted(of_channel.gone)) == (True, list_file_ids(doomed))


async def test_what_cannot_be_read_is_named_and_nothing_of_it_is_taken_for_gone(comparing: Comparing) -> None:
    simulator, guild = comparing.discord.simulator, comparing.discord.guild
    comparing.know(*await comparing.past.post(comparing.discord.gallery))
    me = simulator.me(guild)
    await simulator.set_overwrites(comparing.discord.gallery, [Overwrite(me, deny=Permission.READ_MESSAGE_HISTORY)])
    [found] = await comparing.compare()
    assert (found.unreadable, found.name, found.gone) == (True, "#gallery", ())
    await simulator.remove_guild(guild)
    [found] = await comparing.compare()
    assert (found.unreadable, found.channel_id) == (True, "")


async def test_the_forgotten_are_not_missed(comparing: Comparing) -> None:
    await comparing.mark(comparing.discord.gallery)
    await comparing.past.post(comparing.discord.gallery)
    forgotten = ForgetRequest(until=datetime.now(UTC) + timedelta(minutes=1))
    key = forgotten_key(str(comparing.discord.guild.id), str(comparing.discord.steve.id))
    await comparing.state.put(key, forgotten.model_dump_json().encode())
    assert await comparing.compare() == []
