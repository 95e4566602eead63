"""Searches of members through the real disnake client: what is recorded, and what members are told at once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.events import (
    DiscordFile,
    SearchDescribed,
    SearchRequested,
)
from contracts.state import GuildSettings
from contracts.subjects import settings_key
from infra.discord.wording import localize
from infra.sandbox.simulator import Channel, Member, Overwrite, Permission
from tests.support.answers import read_answer_text, say_in_english
from tests.support.fakes import MemoryJournal, MemoryState
from tests.support.gateway import PNG, Discord, run_listening_gateway
from tests.support.waiting import eventually

EMBED = {
    "type": "image",
    "url": "https://a.example/b.png",
    "thumbnail": {"url": "https://a.example/b.png", "width": 9, "height": 8},
}


def list_requests(journal: MemoryJournal) -> list[SearchRequested]:
    return [fact for fact in journal.facts if isinstance(fact, SearchRequested)]


async def use_find(discord: Discord, *, member: Member | None = None, channel: Channel | None = None, **options: Any) -> Any:
    return await discord.simulator.slash(channel or discord.lounge, member or discord.steve, "find", options=options)


async def save_settings(discord: Discord, settings: GuildSettings) -> MemoryState:
    state = MemoryState()
    await state.put(settings_key(str(discord.guild.id)), settings.model_dump_json().encode())
    return state


@pytest.mark.usefixtures("hook_calls")
@pytest.mark.parametrize("options", [{}, {"image": 1, "link": "https://discord.com/channels/1/2/3"}])
async def test_exactly_one_of_picture_and_link_must_be_given(
    discord: Discord, journal: MemoryJournal, options: dict[str, Any]
) -> None:
    files = {"image": ("a.png", PNG)} if options.pop("image", None) else None
    interaction = await discord.simulator.slash(discord.lounge, discord.steve, "find", attachments=files, options=options)
    assert await read_answer_text(discord, interaction) == say_in_english("asking-image-or-link")
    assert journal.facts == []


@pytest.mark.usefixtures("hook_calls")
async def test_every_picture_of_a_linked_message_is_searched(discord: Discord, journal: MemoryJournal) -> None:
    message = await discord.simulator.post(
        discord.gallery, discord.steve, "two", files=[("a.png", PNG), ("notes.txt", b"-"), ("b.png", PNG)], embeds=[EMBED]
    )
    interaction = await use_find(discord, link=message.jump_url)
    await eventually(lambda: len(list_requests(journal)) == 3)
    facts = list_requests(journal)
    assert interaction.deferred_after_s < 3
    assert [fact.search_id for fact in facts] == [str(interaction.id), f"{interaction.id}-2", f"{interaction.id}-3"]
    assert [fact.filename for fact in facts] == ["a.png", "b.png", "b.png"]
    assert {(fact.source.channel_id, fact.source.message_id) for fact in facts if isinstance(fact.source, DiscordFile)} == {
        (str(discord.gallery.id), str(message.id))
    }
    answer = await discord.simulator.answer(interaction)
    further = await discord.simulator.followups(interaction, 2)
    assert [each.content for each in (answer, *further)] == [
        say_in_english("asking-picture", number=number, count=3) for number in (1, 2, 3)
    ]
    assert all(each.ephemeral for each in (answer, *further))
    replies: list[Any] = [fact.question.reply for fact in facts]
    assert [reply.message_id for reply in replies] == [None, *(str(each.message.id) for each in further)]


@pytest.mark.usefixtures("hook_calls")
async def test_a_forwarded_picture_can_be_searched(discord: Discord, journal: MemoryJournal) -> None:
    original = await discord.post("a.png")
    forwarded = await discord.simulator.post(discord.lounge, discord.steve, reference=original, snapshot=True)
    await discord.simulator.message_command(discord.lounge, discord.steve, "Find this map", forwarded)
    await eventually(lambda: list_requests(journal))
    assert list_requests(journal)[0].filename == "a.png"


@pytest.mark.usefixtures("hook_calls")
async def test_the_message_menu_searches_with_its_pictures(discord: Discord, journal: MemoryJournal) -> None:
    message = await discord.post("a.png", "b.png")
    before = dict(discord.simulator.requests)
    interaction = await discord.simulator.message_command(discord.gallery, discord.steve, "Find this map", message, locale="de")
    await eventually(lambda: len(list_requests(journal)) == 2)
    assert [fact.question.locale for fact in list_requests(journal)] == ["de", "de"]
    assert (await discord.simulator.answer(interaction)).content == localize("de", "asking-picture", number=1, count=2)
    fetches = [each for each in discord.simulator.requests if each.startswith("GET") and "messages" in each and each not in before]
    assert fetches == []


@pytest.mark.usefixtures("hook_calls")
async def test_a_message_without_pictures_is_refused_at_once(discord: Discord, journal: MemoryJournal) -> None:
    message = await discord.post()
    interaction = await discord.simulator.message_command(discord.gallery, discord.steve, "Find this map", message)
    assert await read_answer_text(discord, interaction) == say_in_english("asking-message-without-picture")
    assert await read_answer_text(discord, await use_find(discord, link=message.jump_url)) == say_in_english(
        "asking-message-without-picture"
    )
    assert list_requests(journal) == []


async def test_an_unreadable_message_is_treated_like_a_missing_one(discord: Discord, journal: MemoryJournal) -> None:
    """It does not matter whether the asker or the bot may not read it. The bot requests only messages that the asker may read."""
    simulator, guild = discord.simulator, discord.guild
    staff = simulator.add_text_channel(guild, "staff", [Overwrite(discord.steve, deny=Permission.VIEW_CHANNEL)])
    past = simulator.add_text_channel(guild, "past", [Overwrite(discord.steve, deny=Permission.READ_MESSAGE_HISTORY)])
    deaf = simulator.add_text_channel(guild, "deaf", [Overwrite(simulator.me(guild), deny=Permission.READ_MESSAGE_HISTORY)])
    adult = simulator.add_text_channel(guild, "adult", nsfw=True)
    private = await simulator.add_thread(discord.gallery, "plans", private=True)
    elsewhere = simulator.add_guild("Elsewhere")
    stranger = simulator.add_text_channel(elsewhere, "gallery")
    alex = simulator.add_member(guild, "Alex")
    links = [(await discord.post("a.png", channel=each, author=alex)).jump_url for each in (staff, past, deaf, adult, private)]
    links.append((await discord.post("a.png", channel=stranger, author=simulator.add_member(elsewhere, "Alex"))).jump_url)
    gone = await discord.post("a.png")
    await simulator.delete(gone)
    links += [gone.jump_url, f"https://discord.com/channels/{guild.id}/123/456"]
    state = await save_settings(discord, GuildSettings(searches_per_member=600, searches_at_once=20))
    async with run_listening_gateway(discord, journal, state=state):
        for link in links:
            assert await read_answer_text(discord, await use_find(discord, link=link)) == say_in_english("asking-link-missing"), (
                link
            )
    assert list_requests(journal) == []


async def test_a_message_in_a_thread_is_searched_only_by_members_who_may_read_it(discord: Discord, journal: MemoryJournal) -> None:
    forum = discord.simulator.add_forum(discord.guild, "showcase")
    old = await discord.simulator.add_thread(forum, "castle")
    private = await discord.simulator.add_thread(discord.gallery, "plans", private=True)
    for member in (discord.steve, discord.simulator.me(discord.guild)):
        await discord.simulator.join_thread(private, member)
    links = [(await discord.post("a.png", channel=each)).jump_url for each in (old, private)]
    await discord.simulator.archive_thread(old)
    async with run_listening_gateway(discord, journal):
        for number, link in enumerate(links, start=1):
            await use_find(discord, link=link)
            await eventually(lambda: len(list_requests(journal)) == number)  # noqa: B023
        await discord.simulator.leave_thread(private, discord.steve)
        assert await read_answer_text(discord, await use_find(discord, link=links[-1])) == say_in_english("asking-link-missing")
        await discord.find()
        await eventually(lambda: len(list_requests(journal)) == 3)
    *before, after = (str(private.id) in (fact.question.readable_channels or ()) for fact in list_requests(journal))
    assert (before, after) == ([True, True], False)


@pytest.mark.usefixtures("hook_calls")
async def test_a_link_to_a_picture_on_discord_is_searched_directly(discord: Discord, journal: MemoryJournal) -> None:
    url = "https://cdn.discordapp.com/attachments/1/2/map.png?ex=1&is=2&hm=3"
    await use_find(discord, link=url)
    await eventually(lambda: list_requests(journal))
    assert (list_requests(journal)[0].source, list_requests(journal)[0].filename) == (DiscordFile(url=url), "map.png")
    interaction = await use_find(discord, link="https://evil.example/map.png")
    assert await read_answer_text(discord, interaction) == say_in_english("asking-link-unknown")


async def test_the_asker_or_the_guild_decides_who_sees_the_answer(discord: Discord, journal: MemoryJournal) -> None:
    """A public answer is in the guild's language and shows what everybody may read."""
    staff = discord.simulator.add_text_channel(
        discord.guild,
        "staff",
        [Overwrite(discord.guild.everyone, deny=Permission.VIEW_CHANNEL), Overwrite(discord.steve, allow=Permission.VIEW_CHANNEL)],
    )
    everybody = {str(discord.gallery.id), str(discord.lounge.id)}
    state = await save_settings(discord, GuildSettings(private_answers=False, locale="de"))
    async with run_listening_gateway(discord, journal, state=state):
        for private in (None, False, True):
            await discord.simulator.slash(
                discord.lounge,
                discord.steve,
                "find",
                attachments={"image": ("a.png", PNG)},
                options={} if private is None else {"private": private},
            )
        await eventually(lambda: len(list_requests(journal)) == 3)
    by_choice = [fact.question for fact in list_requests(journal)]
    assert sorted((question.private, question.locale) for question in by_choice) == [(False, "de"), (False, "de"), (True, "en-US")]
    for question in by_choice:
        shown = everybody | {str(staff.id)} if question.private else everybody
        assert set(question.readable_channels or ()) == shown
        assert (question.channel_id, question.top) == (str(discord.lounge.id), 10)


@pytest.mark.usefixtures("hook_calls")
async def test_words_become_a_search_with_filters(discord: Discord, journal: MemoryJournal) -> None:
    options = {
        "query": 'red dragon -night -"stone wall"',
        "channel": discord.gallery,
        "author": discord.steve,
        "after": "2024",
        "before": "2024-03",
    }
    interaction = await discord.simulator.slash(discord.lounge, discord.steve, "find-text", options=options)
    await eventually(lambda: journal.facts)
    (fact,) = journal.facts
    assert isinstance(fact, SearchDescribed)
    assert (fact.search_id, fact.words, fact.excluded) == (str(interaction.id), "red dragon", ("night", "stone wall"))
    assert fact.question.readable_channels == (str(discord.gallery.id),)
    filters = fact.question.filters
    assert filters is not None
    assert (filters.author_id, filters.after, filters.before) == (
        str(discord.steve.id),
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 3, 1, tzinfo=UTC),
    )


async def test_a_category_filter_covers_its_readable_channels(discord: Discord, journal: MemoryJournal) -> None:
    simulator, guild = discord.simulator, discord.guild
    art = simulator.add_category(guild, "art")
    hidden = [Overwrite(discord.steve, deny=Permission.READ_MESSAGE_HISTORY)]
    drafts = simulator.add_text_channel(guild, "drafts", category=art)
    staff = simulator.add_text_channel(guild, "staff", hidden, category=art)
    async with run_listening_gateway(discord, journal):
        await simulator.slash(discord.lounge, discord.steve, "find-text", options={"query": "dragon", "channel": art})
        await eventually(lambda: journal.facts)
        refused = await simulator.slash(
            discord.lounge, discord.steve, "find-text", options={"query": "dragon", "channel": staff, "private": True}
        )
        assert await read_answer_text(discord, refused) == say_in_english("asking-channel-unreadable", channel=f"<#{staff.id}>")
    (fact,) = journal.facts
    assert isinstance(fact, SearchDescribed)
    assert fact.question.readable_channels == (str(drafts.id),)


@pytest.mark.usefixtures("hook_calls")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": "-night"}, say_in_english("asking-no-words")),
        ({"query": "dragon", "after": "soon"}, say_in_english("asking-no-date", typed="soon")),
        ({"query": "dragon", "after": "2024-02", "before": "2024"}, say_in_english("asking-dates-crossed")),
    ],
)
async def test_unusable_words_are_refused(discord: Discord, journal: MemoryJournal, options: dict[str, Any], message: str) -> None:
    interaction = await discord.simulator.slash(discord.lounge, discord.steve, "find-text", options=options)
    assert await read_answer_text(discord, interaction) == message
    assert journal.facts == []


async def test_a_member_over_the_quota_is_told_when_to_search_again(discord: Discord, journal: MemoryJournal) -> None:
    state = await save_settings(discord, GuildSettings(searches_per_member=2, searches_per_guild=3, private_answers=False))
    alex, moment = discord.simulator.add_member(discord.guild, "Alex"), datetime(2026, 1, 1, tzinfo=UTC)
    async with run_listening_gateway(discord, journal, state=state, now=lambda: moment):
        for number in (1, 2):
            await discord.find()
            await eventually(lambda: len(list_requests(journal)) == number)  # noqa: B023
        after = f"<t:{int(moment.timestamp()) + 30}:R>"
        assert await read_answer_text(discord, await discord.find()) == say_in_english("asking-too-many-searches", when=after)
        await discord.find(member=alex)
        await eventually(lambda: len(list_requests(journal)) == 3)
        guilds = f"<t:{int(moment.timestamp()) + 20}:R>"
        assert await read_answer_text(discord, await discord.find(member=alex)) == say_in_english(
            "asking-too-many-searches", when=guilds
        )
        moment = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
        await discord.find()
        await eventually(lambda: len(list_requests(journal)) == 4)


async def test_failed_searches_do_not_count_as_running(discord: Discord, journal: MemoryJournal) -> None:
    state = await save_settings(discord, GuildSettings(searches_at_once=1))
    async with run_listening_gateway(discord, journal, state=state):
        journal.down = True
        for _ in range(2):
            interaction = await discord.find()
            reference = f"interaction-{interaction.id}"
            assert await read_answer_text(discord, interaction) == say_in_english("failures-unavailable", reference=reference)
        journal.down = False
        await discord.find()
        await eventually(lambda: list_requests(journal))
        assert (await read_answer_text(discord, await discord.find())).startswith("That's a lot of searches")


@pytest.mark.usefixtures("hook_calls")
async def test_an_internal_error_is_reported_with_a_reference(
    discord: Discord, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def raise_error(*_: object) -> bool:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(journal, "record", raise_error)
    interaction = await discord.find()
    assert await read_answer_text(discord, interaction) == say_in_english(
        "failures-broken", reference=f"interaction-{interaction.id}"
    )
