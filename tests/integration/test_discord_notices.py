"""What speaks up on Discord without a gateway: notices of reposts, and word to who waits for a picture."""

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

    async def reads(self, channel: Channel, member: Member | None, *, age_restricted: bool = False) -> bool:
        """None is everybody."""
        guild_id = str(self.discord.guild.id)
        person_id = guild_id if member is None else str(member.id)
        return await self.notices.may_read(guild_id, str(channel.id), person_id, age_restricted=age_restricted)

    def hidden(self, name: str, *allowed: Member | Role) -> Channel:
        overwrites = [Overwrite(self.everyone, deny=VIEW), *(Overwrite(each, allow=VIEW) for each in allowed)]
        return self.discord.simulator.add_text_channel(self.discord.guild, name, overwrites)

    @property
    def everyone(self) -> Role:
        return self.discord.guild.roles[self.discord.guild.id]

    def messages(self, channel: Channel) -> list[Message]:
        return [each for each in channel.messages.values() if each.author.bot]


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    async with simulated_discord() as discord:
        simulator_endpoint(discord.simulator.api_base).use()
        async with RestClient(discord.simulator.token, timeout=5) as rest:
            yield Place(discord, DiscordNotices(rest))


async def test_an_open_channel_is_read_by_members_and_by_everybody(place: Place) -> None:
    assert await place.reads(place.discord.gallery, place.discord.steve)
    assert await place.reads(place.discord.gallery, None)
    assert not place.discord.simulator.connected


async def test_a_hidden_channel_is_read_by_those_who_are_let_in(place: Place) -> None:
    simulator, guild = place.discord.simulator, place.discord.guild
    mappers = simulator.add_role(guild, "mappers")
    alex = simulator.add_member(guild, "Alex", [mappers])
    channel = place.hidden("secret", mappers, simulator.me(guild))
    assert await place.reads(channel, alex)
    assert not await place.reads(channel, place.discord.steve)
    assert not await place.reads(channel, None)
    await simulator.set_roles(alex, [])
    assert not await place.reads(channel, alex)


async def test_history_counts_and_a_denial_to_some_is_not_open_to_all(place: Place) -> None:
    await place.discord.simulator.set_overwrites(place.discord.gallery, [Overwrite(place.discord.steve, deny=HISTORY)])
    alex = place.discord.simulator.add_member(place.discord.guild, "Alex")
    assert not await place.reads(place.discord.gallery, place.discord.steve)
    assert await place.reads(place.discord.gallery, alex)
    assert not await place.reads(place.discord.gallery, None)


async def test_age_restricted_channels_only_where_that_is_allowed(place: Place) -> None:
    channel = place.discord.simulator.add_text_channel(place.discord.guild, "adults", nsfw=True)
    thread = await place.discord.simulator.add_thread(channel, "talk")
    for where in (channel, thread):
        assert not await place.reads(where, place.discord.steve)
        assert not await place.reads(where, None)
        assert await place.reads(where, place.discord.steve, age_restricted=True)


async def test_threads_are_read_by_readers_of_their_channel_and_private_ones_by_their_members(place: Place) -> None:
    simulator, gallery, steve = place.discord.simulator, place.discord.gallery, place.discord.steve
    alex = simulator.add_member(place.discord.guild, "Alex")
    public = await simulator.add_thread(gallery, "public", archived=True)
    private = await simulator.add_thread(gallery, "private", owner=alex, private=True)
    await simulator.join_thread(private, simulator.me(place.discord.guild))
    post = await simulator.add_thread(simulator.add_forum(place.discord.guild, "forum"), "a post")
    assert [await place.reads(each, steve) for each in (public, post, private)] == [True, True, False]
    assert [await place.reads(each, None) for each in (public, post, private)] == [True, True, False]
    assert await place.reads(private, alex)


async def test_strangers_unknown_channels_and_other_guilds_are_read_by_nobody(place: Place) -> None:
    other = place.discord.simulator.add_guild("Other")
    stranger = place.discord.simulator.add_member(other, "Stranger")
    elsewhere = place.discord.simulator.add_text_channel(other, "elsewhere")
    assert not await place.reads(place.discord.gallery, stranger)
    assert not await place.reads(elsewhere, place.discord.steve)
    assert not await place.notices.may_read(str(place.discord.guild.id), "12345", str(place.discord.steve.id), age_restricted=True)


async def test_trouble_at_discord_is_tried_again(place: Place) -> None:
    place.discord.simulator.faults.add(Status(503), REST_PATHS, times=None)
    with pytest.raises(Retry):
        await place.reads(place.discord.gallery, place.discord.steve)


async def notice_of(place: Place, *, locale: str = "en-US") -> tuple[Message, Notice]:
    old, new = await place.discord.post("old.png"), await place.discord.post("new.png")
    documents: list[dict[str, Any]] = [
        {"discord_message_id": str(each.id), "message_link": each.jump_url, "metadata": {"channel_id": str(each.channel.id)}}
        for each in (new, old)
    ]
    return new, Notice(str(place.discord.guild.id), documents[0], documents[1], 0.98, locale)


async def test_a_repost_gets_a_reaction(place: Place) -> None:
    new, notice = await notice_of(place)
    for _ in range(2):
        await place.notices.mark_repost(notice, "reaction")
    assert {emoji: len(people) for emoji, people in new.reactions.items()} == {REPOST_EMOJI: 1}
    assert place.messages(place.discord.gallery) == []


@pytest.mark.parametrize(("locale", "begin"), [("en-US", "This map art"), ("de", "Diese Map-Art"), ("", "This map art")])
async def test_a_repost_gets_one_reply_that_pings_nobody(place: Place, locale: str, begin: str) -> None:
    new, notice = await notice_of(place, locale=locale)
    for _ in range(2):
        await place.notices.mark_repost(notice, "reply")
    [reply] = place.messages(place.discord.gallery)
    assert reply.reference is new
    assert reply.content.startswith(begin)
    assert notice.earlier is not None
    assert notice.earlier["message_link"] in reply.content


@pytest.mark.parametrize("style", ["reaction", "reply"])
async def test_a_lacking_permission_is_no_error(place: Place, style: Any) -> None:
    _, notice = await notice_of(place)
    me = place.discord.simulator.me(place.discord.guild)
    deny = Permission.ADD_REACTIONS | Permission.SEND_MESSAGES
    await place.discord.simulator.set_overwrites(place.discord.gallery, [Overwrite(me, deny=deny)])
    await place.notices.mark_repost(notice, style)
    assert place.messages(place.discord.gallery) == []


async def tell(place: Place, notice: Notice) -> str:
    steve = Person(id=str(place.discord.steve.id), name="Steve")
    return await place.notices.notify_person(notice, steve, str(place.discord.lounge.id), "1234567890123456789")


async def test_who_waits_is_told_directly_and_once(place: Place) -> None:
    _, notice = await notice_of(place, locale="de")
    assert [await tell(place, notice) for _ in range(2)] == ["direct", "direct"]
    [message] = place.discord.simulator.direct_messages(place.discord.steve)
    assert message.content.startswith("Die Map-Art")
    assert notice.post["message_link"] in message.content


async def test_who_takes_no_direct_messages_is_mentioned_where_they_asked(place: Place) -> None:
    _, notice = await notice_of(place)
    place.discord.simulator.close_dms(place.discord.steve)
    assert await tell(place, notice) == "mention"
    [message] = place.messages(place.discord.lounge)
    assert message.content.startswith(f"<@{place.discord.steve.id}>")


async def test_who_cannot_be_reached_is_undeliverable(place: Place) -> None:
    _, notice = await notice_of(place)
    place.discord.simulator.close_dms(place.discord.steve)
    await place.discord.simulator.delete_channel(place.discord.lounge)
    assert await tell(place, notice) == "undeliverable"
