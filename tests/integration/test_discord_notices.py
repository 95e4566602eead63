"""Notices on Discord over REST: notices of reposts, and notices of alerts to members."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from disnake.http import Route

from contracts.errors import Retry
from contracts.events import Person
from contracts.ports import Notice
from infra.discord.gateway import simulator_endpoint
from infra.discord.rest.client import RestClient
from infra.discord.rest.notices import REPOST_EMOJI, DiscordNotices
from infra.sandbox.simulator import REST_PATHS, Channel, Member, Message, Overwrite, Permission, Role, Status
from tests.support.gateway import Discord, simulated_discord

VIEW, HISTORY = Permission.VIEW_CHANNEL, Permission.READ_MESSAGE_HISTORY


@dataclass
class Place:
    discord: Discord
    notices: DiscordNotices

    async def is_readable(self, channel: Channel, member: Member | None, *, age_restricted: bool = False) -> bool:
        """Ask whether a member may read a channel. `member` None stands for everybody."""
        guild_id = str(self.discord.guild.id)
        person_id = guild_id if member is None else str(member.id)
        return await self.notices.may_read(guild_id, str(channel.id), person_id, age_restricted=age_restricted)

    def create_hidden_channel(self, name: str, *allowed: Member | Role) -> Channel:
        overwrites = [Overwrite(self.everyone, deny=VIEW), *(Overwrite(each, allow=VIEW) for each in allowed)]
        return self.discord.simulator.add_text_channel(self.discord.guild, name, overwrites)

    @property
    def everyone(self) -> Role:
        return self.discord.guild.roles[self.discord.guild.id]

    def list_messages(self, channel: Channel) -> list[Message]:
        return [each for each in channel.messages.values() if each.author.bot]


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    async with simulated_discord() as discord:
        simulator_endpoint(discord.simulator.api_base).use()
        async with RestClient(discord.simulator.token, timeout=5) as rest:
            yield Place(discord, DiscordNotices(rest))


async def test_members_and_everybody_may_read_an_open_channel(place: Place) -> None:
    assert await place.is_readable(place.discord.gallery, place.discord.steve)
    assert await place.is_readable(place.discord.gallery, None)
    assert not place.discord.simulator.connected


async def test_only_allowed_members_may_read_a_hidden_channel(place: Place) -> None:
    simulator, guild = place.discord.simulator, place.discord.guild
    mappers = simulator.add_role(guild, "mappers")
    alex = simulator.add_member(guild, "Alex", [mappers])
    channel = place.create_hidden_channel("secret", mappers, simulator.me(guild))
    assert await place.is_readable(channel, alex)
    assert not await place.is_readable(channel, place.discord.steve)
    assert not await place.is_readable(channel, None)
    await simulator.set_roles(alex, [])
    assert not await place.is_readable(channel, alex)


async def test_reading_needs_the_history_and_a_channel_denied_to_some_is_not_open_to_everybody(place: Place) -> None:
    await place.discord.simulator.set_overwrites(place.discord.gallery, [Overwrite(place.discord.steve, deny=HISTORY)])
    alex = place.discord.simulator.add_member(place.discord.guild, "Alex")
    assert not await place.is_readable(place.discord.gallery, place.discord.steve)
    assert await place.is_readable(place.discord.gallery, alex)
    assert not await place.is_readable(place.discord.gallery, None)


async def test_age_restricted_channels_are_readable_only_if_allowed(place: Place) -> None:
    channel = place.discord.simulator.add_text_channel(place.discord.guild, "adults", nsfw=True)
    thread = await place.discord.simulator.add_thread(channel, "talk")
    for where in (channel, thread):
        assert not await place.is_readable(where, place.discord.steve)
        assert not await place.is_readable(where, None)
        assert await place.is_readable(where, place.discord.steve, age_restricted=True)


async def test_readers_of_a_channel_may_read_its_threads_and_members_its_private_ones(place: Place) -> None:
    simulator, gallery, steve = place.discord.simulator, place.discord.gallery, place.discord.steve
    alex = simulator.add_member(place.discord.guild, "Alex")
    public = await simulator.add_thread(gallery, "public", archived=True)
    private = await simulator.add_thread(gallery, "private", owner=alex, private=True)
    await simulator.join_thread(private, simulator.me(place.discord.guild))
    post = await simulator.add_thread(simulator.add_forum(place.discord.guild, "forum"), "a post")
    assert [await place.is_readable(each, steve) for each in (public, post, private)] == [True, True, False]
    assert [await place.is_readable(each, None) for each in (public, post, private)] == [True, True, False]
    assert await place.is_readable(private, alex)


async def test_nobody_may_read_in_unknown_channels_or_other_guilds(place: Place) -> None:
    other = place.discord.simulator.add_guild("Other")
    stranger = place.discord.simulator.add_member(other, "Stranger")
    elsewhere = place.discord.simulator.add_text_channel(other, "elsewhere")
    assert not await place.is_readable(place.discord.gallery, stranger)
    assert not await place.is_readable(elsewhere, place.discord.steve)
    assert not await place.notices.may_read(str(place.discord.guild.id), "12345", str(place.discord.steve.id), age_restricted=True)


async def test_an_error_of_discord_is_raised_for_a_retry(place: Place) -> None:
    place.discord.simulator.faults.add(Status(503), REST_PATHS, times=None)
    with pytest.raises(Retry):
        await place.is_readable(place.discord.gallery, place.discord.steve)


async def make_notice(place: Place, *, locale: str = "en-US") -> tuple[Message, Notice]:
    old, new = await place.discord.post("old.png"), await place.discord.post("new.png")
    documents: list[dict[str, Any]] = [
        {"discord_message_id": str(each.id), "message_link": each.jump_url, "metadata": {"channel_id": str(each.channel.id)}}
        for each in (new, old)
    ]
    return new, Notice(str(place.discord.guild.id), documents[0], documents[1], 0.98, locale)


async def test_a_repost_gets_a_reaction(place: Place) -> None:
    new, notice = await make_notice(place)
    for _ in range(2):
        await place.notices.mark_repost(notice, "reaction")
    assert {emoji: len(people) for emoji, people in new.reactions.items()} == {REPOST_EMOJI: 1}
    assert place.list_messages(place.discord.gallery) == []


@pytest.mark.parametrize(("locale", "begin"), [("en-US", "This map art"), ("de", "Diese Map-Art"), ("", "This map art")])
async def test_a_repost_gets_one_reply_that_pings_nobody(place: Place, locale: str, begin: str) -> None:
    new, notice = await make_notice(place, locale=locale)
    for _ in range(2):
        await place.notices.mark_repost(notice, "reply")
    [reply] = place.list_messages(place.discord.gallery)
    assert reply.reference is new
    assert reply.content.startswith(begin)
    assert notice.earlier is not None
    assert notice.earlier["message_link"] in reply.content


@pytest.mark.parametrize("style", ["reaction", "reply"])
async def test_a_missing_permission_is_no_error(place: Place, style: Any) -> None:
    _, notice = await make_notice(place)
    me = place.discord.simulator.me(place.discord.guild)
    deny = Permission.ADD_REACTIONS | Permission.SEND_MESSAGES
    await place.discord.simulator.set_overwrites(place.discord.gallery, [Overwrite(me, deny=deny)])
    await place.notices.mark_repost(notice, style)
    assert place.list_messages(place.discord.gallery) == []


async def notify(place: Place, notice: Notice) -> str:
    steve = Person(id=str(place.discord.steve.id), name="Steve")
    return await place.notices.notify_person(notice, steve, str(place.discord.lounge.id), "1234567890123456789")


async def test_a_member_gets_one_direct_message(place: Place) -> None:
    _, notice = await make_notice(place, locale="de")
    assert [await notify(place, notice) for _ in range(2)] == ["direct", "direct"]
    [message] = place.discord.simulator.direct_messages(place.discord.steve)
    assert message.content.startswith("Die Map-Art")
    assert notice.post["message_link"] in message.content


async def test_a_member_without_direct_messages_is_mentioned_where_they_asked(place: Place) -> None:
    _, notice = await make_notice(place)
    place.discord.simulator.close_dms(place.discord.steve)
    assert await notify(place, notice) == "mention"
    [message] = place.list_messages(place.discord.lounge)
    assert message.content.startswith(f"<@{place.discord.steve.id}>")


async def test_a_member_who_cannot_be_reached_is_undeliverable(place: Place) -> None:
    _, notice = await make_notice(place)
    place.discord.simulator.close_dms(place.discord.steve)
    await place.discord.simulator.delete_channel(place.discord.lounge)
    assert await notify(place, notice) == "undeliverable"
