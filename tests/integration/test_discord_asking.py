"""What members ask, and what they press, through the real disnake client: what is recorded, and what they are told at once."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from disnake.http import Route

from contracts.envelope import Origin
from contracts.events import (
    AlertCancelled,
    AlertRequested,
    AlertSet,
    Calibration,
    DiscordFile,
    Person,
    SearchDescribed,
    SearchMatched,
    SearchRequested,
    SearchVoted,
)
from contracts.state import GuildSettings
from contracts.subjects import settings_key
from infra.discord import custom_ids
from infra.discord.custom_ids import custom_id
from infra.discord.wording import say
from infra.simulator import Channel, Member, Message, Overwrite, Permission
from tests.suites.facts import QUESTION
from tests.suites.fakes import MemoryJournal, MemoryState
from tests.suites.gateway import PNG, Discord, Heard, listening, simulated_discord
from tests.suites.waiting import eventually

EMBED = {
    "type": "image",
    "url": "https://a.example/b.png",
    "thumbnail": {"url": "https://a.example/b.png", "width": 9, "height": 8},
}
CALIBRATION = Calibration(match_at=0.9, possible_at=0.8)


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Route, "BASE", Route.BASE)


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with simulated_discord() as discord:
        yield discord


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
async def heard(discord: Discord, journal: MemoryJournal) -> AsyncIterator[Heard]:
    async with listening(discord, journal) as heard:
        yield heard


def asked(journal: MemoryJournal) -> list[SearchRequested]:
    return [fact for fact in journal.facts if isinstance(fact, SearchRequested)]


async def found(discord: Discord, *, member: Member | None = None, channel: Channel | None = None, **options: Any) -> Any:
    return await discord.simulator.slash(channel or discord.lounge, member or discord.steve, "find", options=options)


async def matched(discord: Discord, journal: MemoryJournal) -> None:
    """Search 77 is answered."""
    fact = SearchMatched(
        guild_id=str(discord.guild.id),
        search_id="77",
        question=QUESTION,
        generation="g1",
        verdict="none",
        matches=(),
        trained=True,
    )
    await journal.record(fact, Origin("interaction-77"))


async def said(discord: Discord, interaction: Any) -> str:
    answer = await discord.simulator.answer(interaction)
    assert answer.ephemeral
    return str(answer.content)


def sentence(message: str, **values: Any) -> str:
    return say("en-US", message, **values)


async def with_settings(discord: Discord, settings: GuildSettings) -> MemoryState:
    state = MemoryState()
    await state.put(settings_key(str(discord.guild.id)), settings.model_dump_json().encode())
    return state


async def show_buttons(discord: Discord, interaction: Any, *pressable: str) -> Message:
    """Answer an interaction with buttons, as the reply stage does."""
    buttons = [{"type": 2, "style": 2, "label": str(number), "custom_id": each} for number, each in enumerate(pressable)]
    url = f"{discord.simulator.api_base}/webhooks/{discord.simulator.application_id}/{interaction.token}/messages/@original"
    body = {"content": "an answer", "components": [{"type": 1, "components": buttons}]}
    async with aiohttp.ClientSession() as session, session.patch(url, json=body) as response:
        assert response.status == 200, await response.text()
    answer = await discord.simulator.answer(interaction)
    return answer.message


async def answered_with(discord: Discord, *pressable: str, private: bool = True) -> Message:
    interaction = await discord.simulator.slash(
        discord.lounge, discord.steve, "find", attachments={"image": ("shot.png", PNG)}, options={"private": private}
    )
    await eventually(lambda: interaction.original)
    return await show_buttons(discord, interaction, *pressable)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("options", [{}, {"image": 1, "link": "https://discord.com/channels/1/2/3"}])
async def test_exactly_one_of_picture_and_link_is_wanted(discord: Discord, journal: MemoryJournal, options: dict[str, Any]) -> None:
    files = {"image": ("a.png", PNG)} if options.pop("image", None) else None
    interaction = await discord.simulator.slash(discord.lounge, discord.steve, "find", attachments=files, options=options)
    assert await said(discord, interaction) == sentence("asking-image-or-link")
    assert journal.facts == []


@pytest.mark.usefixtures("heard")
async def test_every_picture_of_a_linked_message_is_asked_about(discord: Discord, journal: MemoryJournal) -> None:
    message = await discord.simulator.post(
        discord.gallery, discord.steve, "two", files=[("a.png", PNG), ("notes.txt", b"-"), ("b.png", PNG)], embeds=[EMBED]
    )
    interaction = await found(discord, link=message.jump_url)
    await eventually(lambda: len(asked(journal)) == 3)
    facts = asked(journal)
    assert interaction.deferred_after_s < 3
    assert [fact.search_id for fact in facts] == [str(interaction.id), f"{interaction.id}-2", f"{interaction.id}-3"]
    assert [fact.filename for fact in facts] == ["a.png", "b.png", "b.png"]
    assert {(fact.source.channel_id, fact.source.message_id) for fact in facts if isinstance(fact.source, DiscordFile)} == {
        (str(discord.gallery.id), str(message.id))
    }
    answer = await discord.simulator.answer(interaction)
    further = await discord.simulator.followups(interaction, 2)
    assert [each.content for each in (answer, *further)] == [
        sentence("asking-picture", number=number, count=3) for number in (1, 2, 3)
    ]
    assert all(each.ephemeral for each in (answer, *further))
    replies: list[Any] = [fact.question.reply for fact in facts]
    assert [reply.message_id for reply in replies] == [None, *(str(each.message.id) for each in further)]


@pytest.mark.usefixtures("heard")
async def test_a_forwarded_picture_can_be_asked_about(discord: Discord, journal: MemoryJournal) -> None:
    original = await discord.post("a.png")
    forwarded = await discord.simulator.post(discord.lounge, discord.steve, reference=original, snapshot=True)
    await discord.simulator.message_command(discord.lounge, discord.steve, "Find this map", forwarded)
    await eventually(lambda: asked(journal))
    assert asked(journal)[0].filename == "a.png"


@pytest.mark.usefixtures("heard")
async def test_the_menu_of_a_message_asks_about_its_pictures(discord: Discord, journal: MemoryJournal) -> None:
    message = await discord.post("a.png", "b.png")
    before = dict(discord.simulator.requests)
    interaction = await discord.simulator.message_command(discord.gallery, discord.steve, "Find this map", message, locale="de")
    await eventually(lambda: len(asked(journal)) == 2)
    assert [fact.question.locale for fact in asked(journal)] == ["de", "de"]
    assert (await discord.simulator.answer(interaction)).content == say("de", "asking-picture", number=1, count=2)
    fetches = [each for each in discord.simulator.requests if each.startswith("GET") and "messages" in each and each not in before]
    assert fetches == []


@pytest.mark.usefixtures("heard")
async def test_a_message_without_pictures_is_told_at_once(discord: Discord, journal: MemoryJournal) -> None:
    message = await discord.post()
    interaction = await discord.simulator.message_command(discord.gallery, discord.steve, "Find this map", message)
    assert await said(discord, interaction) == sentence("asking-message-without-picture")
    assert await said(discord, await found(discord, link=message.jump_url)) == sentence("asking-message-without-picture")
    assert asked(journal) == []


async def test_a_message_that_may_not_be_read_is_like_one_that_does_not_exist(discord: Discord, journal: MemoryJournal) -> None:
    """Whether it is the asker or the bot who may not; and the bot asks Discord only for what the asker may read."""
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
    state = await with_settings(discord, GuildSettings(searches_per_member=600, searches_at_once=20))
    async with listening(discord, journal, state=state):
        for link in links:
            assert await said(discord, await found(discord, link=link)) == sentence("asking-link-missing"), link
    assert asked(journal) == []


async def test_a_message_in_a_thread_is_read_by_those_who_may(discord: Discord, journal: MemoryJournal) -> None:
    forum = discord.simulator.add_forum(discord.guild, "showcase")
    old = await discord.simulator.add_thread(forum, "castle")
    private = await discord.simulator.add_thread(discord.gallery, "plans", private=True)
    for member in (discord.steve, discord.simulator.me(discord.guild)):
        await discord.simulator.join_thread(private, member)
    links = [(await discord.post("a.png", channel=each)).jump_url for each in (old, private)]
    await discord.simulator.archive_thread(old)
    async with listening(discord, journal):
        for number, link in enumerate(links, start=1):
            await found(discord, link=link)
            await eventually(lambda: len(asked(journal)) == number)  # noqa: B023
        await discord.simulator.leave_thread(private, discord.steve)
        assert await said(discord, await found(discord, link=links[-1])) == sentence("asking-link-missing")
        await discord.find()
        await eventually(lambda: len(asked(journal)) == 3)
    *before, after = (str(private.id) in (fact.question.readable_channels or ()) for fact in asked(journal))
    assert (before, after) == ([True, True], False)


@pytest.mark.usefixtures("heard")
async def test_a_link_to_a_picture_on_discord_is_asked_about_as_it_is(discord: Discord, journal: MemoryJournal) -> None:
    url = "https://cdn.discordapp.com/attachments/1/2/map.png?ex=1&is=2&hm=3"
    await found(discord, link=url)
    await eventually(lambda: asked(journal))
    assert (asked(journal)[0].source, asked(journal)[0].filename) == (DiscordFile(url=url), "map.png")
    interaction = await found(discord, link="https://evil.example/map.png")
    assert await said(discord, interaction) == sentence("asking-link-unknown")


async def test_who_sees_the_answer_is_the_askers_choice_or_the_guilds(discord: Discord, journal: MemoryJournal) -> None:
    """An answer for all speaks the guild's language and shows what all may read."""
    staff = discord.simulator.add_text_channel(
        discord.guild,
        "staff",
        [Overwrite(discord.guild.everyone, deny=Permission.VIEW_CHANNEL), Overwrite(discord.steve, allow=Permission.VIEW_CHANNEL)],
    )
    everybody = {str(discord.gallery.id), str(discord.lounge.id)}
    state = await with_settings(discord, GuildSettings(private_answers=False, locale="de"))
    async with listening(discord, journal, state=state):
        for private in (None, False, True):
            await discord.simulator.slash(
                discord.lounge,
                discord.steve,
                "find",
                attachments={"image": ("a.png", PNG)},
                options={} if private is None else {"private": private},
            )
        await eventually(lambda: len(asked(journal)) == 3)
    by_choice = [fact.question for fact in asked(journal)]
    assert sorted((question.private, question.locale) for question in by_choice) == [(False, "de"), (False, "de"), (True, "en-US")]
    for question in by_choice:
        shown = everybody | {str(staff.id)} if question.private else everybody
        assert set(question.readable_channels or ()) == shown
        assert (question.channel_id, question.top) == (str(discord.lounge.id), 10)


@pytest.mark.usefixtures("heard")
async def test_words_become_a_question_with_filters(discord: Discord, journal: MemoryJournal) -> None:
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


async def test_a_category_is_searched_through_as_far_as_it_may_be_read(discord: Discord, journal: MemoryJournal) -> None:
    simulator, guild = discord.simulator, discord.guild
    art = simulator.add_category(guild, "art")
    hidden = [Overwrite(discord.steve, deny=Permission.READ_MESSAGE_HISTORY)]
    drafts = simulator.add_text_channel(guild, "drafts", category=art)
    staff = simulator.add_text_channel(guild, "staff", hidden, category=art)
    async with listening(discord, journal):
        await simulator.slash(discord.lounge, discord.steve, "find-text", options={"query": "dragon", "channel": art})
        await eventually(lambda: journal.facts)
        refused = await simulator.slash(
            discord.lounge, discord.steve, "find-text", options={"query": "dragon", "channel": staff, "private": True}
        )
        assert await said(discord, refused) == sentence("asking-channel-unreadable", channel=f"<#{staff.id}>")
    (fact,) = journal.facts
    assert isinstance(fact, SearchDescribed)
    assert fact.question.readable_channels == (str(drafts.id),)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": "-night"}, sentence("asking-no-words")),
        ({"query": "dragon", "after": "soon"}, sentence("asking-no-date", typed="soon")),
        ({"query": "dragon", "after": "2024-02", "before": "2024"}, sentence("asking-dates-crossed")),
    ],
)
async def test_words_that_make_no_sense_are_refused(
    discord: Discord, journal: MemoryJournal, options: dict[str, Any], message: str
) -> None:
    interaction = await discord.simulator.slash(discord.lounge, discord.steve, "find-text", options=options)
    assert await said(discord, interaction) == message
    assert journal.facts == []


async def test_who_asks_too_much_is_told_when_to_ask_again(discord: Discord, journal: MemoryJournal) -> None:
    state = await with_settings(discord, GuildSettings(searches_per_member=2, searches_per_guild=3, private_answers=False))
    alex, moment = discord.simulator.add_member(discord.guild, "Alex"), datetime(2026, 1, 1, tzinfo=UTC)
    async with listening(discord, journal, state=state, now=lambda: moment):
        for number in (1, 2):
            await discord.find()
            await eventually(lambda: len(asked(journal)) == number)  # noqa: B023
        after = f"<t:{int(moment.timestamp()) + 30}:R>"
        assert await said(discord, await discord.find()) == sentence("asking-too-many-searches", when=after)
        await discord.find(member=alex)
        await eventually(lambda: len(asked(journal)) == 3)
        guilds = f"<t:{int(moment.timestamp()) + 20}:R>"
        assert await said(discord, await discord.find(member=alex)) == sentence("asking-too-many-searches", when=guilds)
        moment = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
        await discord.find()
        await eventually(lambda: len(asked(journal)) == 4)


async def test_questions_that_failed_are_not_under_way(discord: Discord, journal: MemoryJournal) -> None:
    state = await with_settings(discord, GuildSettings(searches_at_once=1))
    async with listening(discord, journal, state=state):
        journal.down = True
        for _ in range(2):
            interaction = await discord.find()
            reference = f"interaction-{interaction.id}"
            assert await said(discord, interaction) == sentence("failures-unavailable", reference=reference)
        journal.down = False
        await discord.find()
        await eventually(lambda: asked(journal))
        assert (await said(discord, await discord.find())).startswith("That was a lot of questions")


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("private", [True, False])
async def test_the_asker_turns_the_page_of_their_own_answer(discord: Discord, journal: MemoryJournal, private: bool) -> None:
    page = custom_id(custom_ids.BROWSE, "77", str(discord.steve.id), "posts", "2", "1")
    message = await answered_with(discord, page, private=private)
    hidden = discord.gallery
    await discord.simulator.set_overwrites(hidden, [Overwrite(discord.steve, deny=Permission.VIEW_CHANNEL)])
    interaction = await discord.simulator.press(message, discord.steve, page)
    fact: Any = await eventually(lambda: next((each for each in journal.facts if each.name == "browsed"), None))
    assert interaction.callback == 6
    assert (fact.search_id, fact.interaction_id, fact.view, fact.piece, fact.page) == ("77", str(interaction.id), "posts", 2, 1)
    assert (fact.question.asker.id, fact.question.private) == (str(discord.steve.id), private)
    assert fact.question.readable_channels == (str(discord.lounge.id),)
    assert fact.question.reply.token == interaction.token


@pytest.mark.usefixtures("heard")
async def test_anybody_else_gets_a_page_of_their_own(discord: Discord, journal: MemoryJournal) -> None:
    page = custom_id(custom_ids.BROWSE, "77", str(discord.steve.id), "piece", "1", "0")
    message = await answered_with(discord, page, private=False)
    alex = discord.simulator.add_member(discord.guild, "Alex")
    await discord.simulator.set_overwrites(discord.gallery, [Overwrite(alex, deny=Permission.READ_MESSAGE_HISTORY)])
    interaction = await discord.simulator.press(message, alex, page, locale="de")
    fact: Any = await eventually(lambda: next((each for each in journal.facts if each.name == "browsed"), None))
    assert interaction.callback == 5
    assert interaction.original is not None
    assert interaction.original.flags & 64
    assert (fact.question.asker.name, fact.question.private, fact.question.locale) == ("Alex", True, "de")
    assert fact.question.readable_channels == (str(discord.lounge.id),)


async def test_an_old_button_works_after_a_restart(discord: Discord, journal: MemoryJournal) -> None:
    page = custom_id(custom_ids.BROWSE, "77", str(discord.steve.id), "piece", "1", "0")
    async with listening(discord, journal):
        message = await answered_with(discord, page)
    async with listening(discord, journal):
        await discord.simulator.press(message, discord.steve, page)
        await eventually(lambda: any(fact.name == "browsed" for fact in journal.facts))


@pytest.mark.usefixtures("heard")
async def test_a_page_that_cannot_be_turned_leaves_the_answer_as_it_is(discord: Discord, journal: MemoryJournal) -> None:
    page = custom_id(custom_ids.BROWSE, "77", str(discord.steve.id), "piece", "1", "0")
    message = await answered_with(discord, page)
    journal.down = True
    interaction = await discord.simulator.press(message, discord.steve, page)
    (told,) = await discord.simulator.followups(interaction, 1)
    assert (told.content, told.ephemeral) == (sentence("failures-unavailable", reference=f"interaction-{interaction.id}"), True)
    assert message.content == "an answer"


@pytest.mark.usefixtures("heard")
async def test_buttons_of_another_version_are_answered_with_a_sentence(discord: Discord, journal: MemoryJournal) -> None:
    strange = ("ms0:browse:1", "ms1:gone:1", custom_id(custom_ids.BROWSE, "77", "1", "piece", "x", "0"))
    message = await answered_with(discord, *strange)
    for pressed in strange:
        interaction = await discord.simulator.press(message, discord.steve, pressed)
        assert await said(discord, interaction) == sentence("asking-button-unknown")
    assert [fact.name for fact in journal.facts] == ["requested"]


@pytest.mark.usefixtures("heard")
async def test_votes_are_noted_and_may_change(discord: Discord, journal: MemoryJournal) -> None:
    await matched(discord, journal)
    right, wrong = (custom_id(custom_ids.VOTE, "77", "88", each) for each in "10")
    message = await answered_with(discord, right, wrong)
    for pressed, word in ((right, "yes"), (wrong, "no")):
        interaction = await discord.simulator.press(message, discord.steve, pressed)
        assert await said(discord, interaction) == sentence("asking-voted", right=word)
    votes: list[Any] = [fact for fact in journal.facts if fact.name == "voted"]
    assert [(vote.search_id, vote.image_id, vote.right, vote.voter.name) for vote in votes] == [
        ("77", "88", True, "Steve"),
        ("77", "88", False, "Steve"),
    ]


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("pressed", [custom_id(custom_ids.VOTE, "77", "88", "1"), custom_id(custom_ids.ALERT, "77")])
async def test_a_search_that_the_log_has_dropped_is_too_old(discord: Discord, journal: MemoryJournal, pressed: str) -> None:
    interaction = await discord.simulator.press(await answered_with(discord, pressed), discord.steve, pressed)
    assert await said(discord, interaction) == sentence("answers-too-old")
    assert not any(isinstance(fact, SearchVoted | AlertRequested) for fact in journal.facts)


@pytest.mark.usefixtures("heard")
async def test_an_alert_is_one_however_often_it_is_asked_for_until_it_is_cancelled(
    discord: Discord, journal: MemoryJournal
) -> None:
    await matched(discord, journal)
    alert = custom_id(custom_ids.ALERT, "77")
    message = await answered_with(discord, alert)
    for _ in range(2):
        answer = await discord.simulator.answer(await discord.simulator.press(message, discord.steve, alert))
        (cancel,) = answer.buttons
    assert [fact.alert_id for fact in journal.facts if isinstance(fact, AlertRequested)] == ["77"]
    await said(discord, await discord.simulator.press(answer, discord.steve, cancel))
    again = await discord.simulator.press(message, discord.steve, alert)
    assert await said(discord, again) == sentence("asking-alert-noted")
    assert [fact.alert_id for fact in journal.facts if isinstance(fact, AlertRequested)] == ["77", str(again.id)]


async def test_an_alert_is_asked_for_and_cancelled(discord: Discord, journal: MemoryJournal) -> None:
    await matched(discord, journal)
    alex = discord.simulator.add_member(discord.guild, "Alex")
    alert = custom_id(custom_ids.ALERT, "77")
    async with listening(discord, journal):
        message = await answered_with(discord, alert)
        interaction = await discord.simulator.press(message, discord.steve, alert)
        answer = await discord.simulator.answer(interaction)
        assert (answer.content, answer.ephemeral) == (sentence("asking-alert-noted"), True)
        fact: Any = next(each for each in journal.facts if isinstance(each, AlertRequested))
        assert (fact.alert_id, fact.person.name, fact.search_id) == ("77", "Steve", "77")
        assert (fact.channel_id, fact.locale, fact.age_restricted) == (str(discord.lounge.id), "en-US", False)
        (cancel,) = answer.buttons
    async with listening(discord, journal):
        other = await discord.find(member=alex)
        await eventually(lambda: other.original)
        theft = await show_buttons(discord, other, cancel)
        assert await said(discord, await discord.simulator.press(theft, alex, cancel)) == sentence("asking-alert-not-yours")
        pressed = await discord.simulator.press(answer, discord.steve, cancel)
        assert await said(discord, pressed) == sentence("asking-alert-cancelled")
    (cancelled,) = [each for each in journal.facts if isinstance(each, AlertCancelled)]
    assert cancelled.key == fact.key


def alert_set(discord: Discord, number: int) -> AlertSet:
    return AlertSet(
        guild_id=str(discord.guild.id),
        alert_id=str(number),
        person=Person(id=str(discord.steve.id), name="Steve"),
        channel_id=str(discord.lounge.id),
        locale="en-US",
        age_restricted=False,
        requested_at=datetime(2026, 1, 1, tzinfo=UTC),
        pixels="0" * 64,
        generation="g1",
        vector=bytes(4),
        calibration=CALIBRATION,
    )


@pytest.mark.usefixtures("heard")
async def test_open_alerts_are_listed_with_a_way_out(discord: Discord, journal: MemoryJournal) -> None:
    async def alerts() -> Any:
        return await discord.simulator.answer(await discord.simulator.slash(discord.lounge, discord.steve, "alerts"))

    await matched(discord, journal)
    none = await alerts()
    assert (none.content, none.ephemeral, none.buttons) == (sentence("asking-alerts-none"), True, {})
    for number in range(1, 31):
        fact = alert_set(discord, number)
        journal.recorded[f"alert-{number}"] = (fact, None)  # type: ignore[assignment]
    some = await alerts()
    assert list(some.buttons) == [custom_id(custom_ids.CANCEL_ALERT, str(discord.guild.id), str(number)) for number in range(1, 26)]
    pressed = custom_id(custom_ids.ALERT, "77")
    message = await answered_with(discord, pressed)
    interaction = await discord.simulator.press(message, discord.steve, pressed)
    assert await said(discord, interaction) == sentence("asking-alerts-full", most=25)


async def direct_message(discord: Discord, button: str) -> Message:
    """The bot writes to Steve directly, as the notify stage does."""
    simulator = discord.simulator
    headers = {"Authorization": f"Bot {simulator.token}"}
    components = [{"type": 1, "components": [{"type": 2, "style": 2, "label": "Cancel", "custom_id": button}]}]
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(
            f"{simulator.api_base}/users/@me/channels", json={"recipient_id": str(discord.steve.id)}
        ) as response:
            channel = await response.json()
        url = f"{simulator.api_base}/channels/{channel['id']}/messages"
        async with session.post(url, json={"content": "it turned up", "components": components}) as response:
            assert response.status == 200, await response.text()
    return simulator.direct_messages(discord.steve)[-1]


@pytest.mark.usefixtures("heard")
async def test_an_alert_is_cancelled_in_a_direct_message(discord: Discord, journal: MemoryJournal) -> None:
    await matched(discord, journal)
    alert = custom_id(custom_ids.ALERT, "77")
    interaction = await discord.simulator.press(await answered_with(discord, alert), discord.steve, alert)
    answer = await discord.simulator.answer(interaction)
    (cancel,) = answer.buttons
    message = await direct_message(discord, cancel)
    assert await said(discord, await discord.simulator.press(message, discord.steve, cancel)) == sentence("asking-alert-cancelled")
    assert any(isinstance(fact, AlertCancelled) for fact in journal.facts)


@pytest.mark.usefixtures("heard")
async def test_a_fault_of_ours_is_told_with_its_reference(
    discord: Discord, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> bool:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(journal, "record", broken)
    interaction = await discord.find()
    assert await said(discord, interaction) == sentence("failures-broken", reference=f"interaction-{interaction.id}")
