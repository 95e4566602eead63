"""`/archive` through the real disnake client: watched channels, back-fill with its message and buttons, status and settings."""

from datetime import UTC, datetime, timedelta

import pytest

from contracts.events import ImagePosted
from contracts.ports import Overview, StageBacklog
from contracts.state import Backfill, GuildSettings
from contracts.subjects import backfill_key, settings_key
from infra.discord.answers.buttons import BACKFILL, build_custom_id
from infra.discord.archive.marks import ForgottenMembers
from infra.sandbox.simulator import Channel, Member, Overwrite, Permission
from tests.support.fakes import FixedOverview, MemoryJournal, MemoryState
from tests.support.gateway import PNG, Discord, run_listening_gateway
from tests.support.waiting import eventually


@pytest.fixture
def alex(discord: Discord) -> Member:
    """A member who may manage the server."""
    managers = discord.simulator.add_role(discord.guild, "managers", Permission.MANAGE_GUILD)
    return discord.simulator.add_member(discord.guild, "Alex", [managers])


def list_filenames(journal: MemoryJournal) -> list[str]:
    return [fact.filename for fact in journal.facts if isinstance(fact, ImagePosted)]


def read_backfill(state: MemoryState, discord: Discord, channel: Channel | None = None) -> Backfill | None:
    entry = state.entries.get(backfill_key(str(discord.guild.id), str((channel or discord.gallery).id)))
    return Backfill.model_validate_json(entry.value) if entry else None


def is_finished(state: MemoryState, discord: Discord) -> bool:
    backfill = read_backfill(state, discord)
    return backfill is not None and backfill.state == "finished"


async def post_history(discord: Discord, count: int, channel: Channel | None = None) -> None:
    """Post messages of the last months, one a minute, each with an image."""
    begin = datetime.now(UTC) - timedelta(days=60)
    for number in range(count):
        files = [(f"{number}.png", PNG)]
        at = begin + timedelta(minutes=number)
        await discord.simulator.post(channel or discord.gallery, discord.steve, files=files, at=at)


async def start_backfill(discord: Discord, alex: Member, channel: Channel, **options: object) -> object:
    return await discord.simulator.slash(discord.lounge, alex, "archive backfill", options={"channel": channel, **options})


async def test_1000_older_messages_are_archived_once_through_a_restart(
    discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState
) -> None:
    await post_history(discord, 1000)
    async with run_listening_gateway(discord, journal, state=state, channels=[discord.lounge]):
        await start_backfill(discord, alex, discord.gallery)
        await eventually(lambda: len(journal.facts) >= 250)
    assert len(journal.facts) < 1000
    async with run_listening_gateway(discord, journal, state=state, channels=[discord.lounge]):
        await eventually(lambda: is_finished(state, discord))
    assert list_filenames(journal) == [f"{number}.png" for number in range(1000)]
    done = read_backfill(state, discord)
    assert done is not None
    assert (done.messages, done.images, done.state) == (1000, 1000, "finished")


async def test_the_message_shows_the_result(discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState) -> None:
    await post_history(discord, 3)
    async with run_listening_gateway(discord, journal, state=state):
        interaction = await start_backfill(discord, alex, discord.gallery)
        await eventually(lambda: is_finished(state, discord))
        answer = await eventually(lambda: _read_message(discord, interaction, "3 messages read, 3 pictures found"))
    assert "100%" in answer


async def _read_message(discord: Discord, interaction: object, words: str) -> str | None:
    answer = await discord.simulator.answer(interaction)  # type: ignore[arg-type]
    text = str(answer.embeds[0]["description"]) if answer.embeds else answer.content
    return text if words in text else None


async def test_only_posts_after_a_date_are_read(discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState) -> None:
    await discord.simulator.post(discord.gallery, discord.steve, files=[("old.png", PNG)], at=datetime(2020, 1, 1, tzinfo=UTC))
    await discord.simulator.post(discord.gallery, discord.steve, files=[("young.png", PNG)], at=datetime(2021, 1, 1, tzinfo=UTC))
    async with run_listening_gateway(discord, journal, state=state):
        await start_backfill(discord, alex, discord.gallery, since="2020-06-01")
        await eventually(lambda: is_finished(state, discord))
        refused = await discord.simulator.answer(await start_backfill(discord, alex, discord.lounge, since="soon"))  # type: ignore[arg-type]
    assert list_filenames(journal) == ["young.png"]
    assert refused.ephemeral
    assert "isn't a date" in refused.content


async def test_a_backfill_is_paused_resumed_and_cancelled_by_managers(
    discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState
) -> None:
    await post_history(discord, 250)
    journal.down = True

    def is_in(wanted: str) -> bool:
        backfill = read_backfill(state, discord)
        return backfill is not None and backfill.state == wanted

    async with run_listening_gateway(discord, journal, state=state, channels=[discord.lounge]):
        interaction = await start_backfill(discord, alex, discord.gallery)
        await eventually(lambda: journal.attempts)
        answer = await discord.simulator.answer(interaction)  # type: ignore[arg-type]
        refused = await discord.simulator.press(answer.message, discord.steve, _find_button(discord, "pause"))
        assert "Manage Server" in (await discord.simulator.answer(refused)).content
        assert is_in("running")
        await discord.simulator.press(answer.message, alex, _find_button(discord, "pause"))
        await eventually(lambda: is_in("paused"))
        journal.down = False
        await eventually(lambda: len(journal.facts) == 100)
        again = await discord.simulator.answer(await start_backfill(discord, alex, discord.gallery))  # type: ignore[arg-type]
        assert "not done" in again.content
    async with run_listening_gateway(discord, journal, state=state, channels=[discord.lounge]):
        await discord.simulator.press(answer.message, alex, _find_button(discord, "resume"))
        await eventually(lambda: is_finished(state, discord))
        await start_backfill(discord, alex, discord.gallery)
        await eventually(lambda: is_in("finished"))
    assert len(list_filenames(journal)) == 250


def _find_button(discord: Discord, action: str) -> str:
    return build_custom_id(BACKFILL, action, str(discord.gallery.id))


async def test_a_cancelled_backfill_stays_cancelled(
    discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState
) -> None:
    await post_history(discord, 250)
    journal.down = True
    async with run_listening_gateway(discord, journal, state=state, channels=[discord.lounge]):
        answer = await discord.simulator.answer(await start_backfill(discord, alex, discord.gallery))  # type: ignore[arg-type]
        await eventually(lambda: journal.attempts)
        await discord.simulator.press(answer.message, alex, _find_button(discord, "cancel"))
        journal.down = False
        await eventually(lambda: len(journal.facts) == 100)
    async with run_listening_gateway(discord, journal, state=state, channels=[discord.lounge]):
        await discord.post("live.png", channel=discord.lounge)
        await eventually(lambda: "live.png" in list_filenames(journal))
    assert len(journal.facts) == 101
    cancelled = read_backfill(state, discord)
    assert cancelled is not None
    assert cancelled.state == "cancelled"


async def test_a_category_includes_the_threads_and_posts_of_its_channels(
    discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState
) -> None:
    simulator = discord.simulator
    category = simulator.add_category(discord.guild, "art")
    text = simulator.add_text_channel(discord.guild, "maps", category=category)
    hidden = Overwrite(simulator.me(discord.guild), deny=Permission.VIEW_CHANNEL)
    secret = simulator.add_text_channel(discord.guild, "secret", [hidden], category=category)
    forum = simulator.add_forum(discord.guild, "forum", category=category)
    thread, closed = await simulator.add_thread(text, "thread"), await simulator.add_thread(text, "closed")
    post = await simulator.add_thread(forum, "post")
    for channel in (text, secret, thread, closed, post):
        await discord.post(f"{channel.name}.png", channel=channel)
    await simulator.archive_thread(closed)
    async with run_listening_gateway(discord, journal, state=state, channels=[discord.lounge]):
        await start_backfill(discord, alex, category)
        await eventually(lambda: (found := read_backfill(state, discord, category)) and found.state == "finished")
    found = {fact.filename: fact.thread_of for fact in journal.facts if isinstance(fact, ImagePosted)}
    parent = str(text.id)
    assert found == {"maps.png": None, "thread.png": parent, "closed.png": parent, "post.png": str(forum.id)}
    done = read_backfill(state, discord, category)
    assert done is not None
    assert done.unreadable == (str(secret.id),)


async def test_progress_continues_in_a_new_message_when_the_token_has_expired(
    discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState
) -> None:
    await post_history(discord, 150)
    journal.down = True
    async with run_listening_gateway(discord, journal, state=state, channels=[discord.gallery]):
        await start_backfill(discord, alex, discord.gallery)
        await eventually(lambda: journal.attempts)
        journal.down = False
        await eventually(lambda: is_finished(state, discord))
    running = read_backfill(state, discord)
    assert running is not None
    later = datetime.now(UTC) + timedelta(minutes=20)
    again = running.model_copy(update={"state": "running", "done": 0, "position": "0"})
    await state.put(backfill_key(str(discord.guild.id), str(discord.gallery.id)), again.model_dump_json().encode())
    async with run_listening_gateway(discord, journal, state=state, channels=[discord.gallery], now=lambda: later):
        await eventually(lambda: is_finished(state, discord))
        message = await eventually(lambda: next(iter(discord.lounge.messages.values()), None))
    assert message.author.bot
    assert len(list_filenames(journal)) == 150


@pytest.mark.parametrize("may_write", [True, False])
async def test_a_new_message_takes_over_before_the_token_expires(
    discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState, may_write: bool
) -> None:
    await post_history(discord, 3)
    if not may_write:
        discord.lounge.overwrites.append(Overwrite(discord.simulator.me(discord.guild), deny=Permission.SEND_MESSAGES))

    async with run_listening_gateway(
        discord, journal, state=state, now=lambda: datetime.now(UTC) + timedelta(minutes=14, seconds=30)
    ):
        interaction = await start_backfill(discord, alex, discord.gallery)
        await eventually(lambda: is_finished(state, discord))
        words = "See this message for the progress" if may_write else "I can't send messages in this channel"
        await eventually(lambda: _read_message(discord, interaction, words))
    fresh = [message for message in discord.lounge.messages.values() if message.interaction is None]
    assert len(fresh) == may_write
    assert len(list_filenames(journal)) == 3


async def test_posts_of_forgotten_members_are_not_back_filled(
    discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState
) -> None:
    await post_history(discord, 2)
    alone = await discord.post("by alex.png", author=alex)
    await ForgottenMembers(state).forget(discord.guild.id, discord.steve.id, datetime.now(UTC))
    async with run_listening_gateway(discord, journal, state=state):
        await start_backfill(discord, alex, discord.gallery)
        await eventually(lambda: is_finished(state, discord))
    assert [fact.key[2] for fact in journal.facts] == [str(alone.id)]


async def test_a_change_of_watched_channels_takes_effect_at_once(
    discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState
) -> None:
    async with run_listening_gateway(discord, journal, state=state, channels=[discord.lounge]):
        await discord.post("before.png")
        added = await _run_command(discord, alex, "archive watch add", channel=discord.gallery)
        await discord.post("watched.png")
        listed = await _run_command(discord, alex, "archive watch list")
        await eventually(lambda: list_filenames(journal) == ["watched.png"])
        await _run_command(discord, alex, "archive watch remove", channel=discord.gallery)
        await discord.post("after.png")
        await discord.post("end.png", channel=discord.lounge)
        await eventually(lambda: "end.png" in list_filenames(journal))
    assert added == f"I now archive new posts in <#{discord.gallery.id}>. To archive older posts too, use /archive backfill."
    assert str(discord.gallery.id) in listed
    assert str(discord.lounge.id) in listed
    assert list_filenames(journal) == ["watched.png", "end.png"]


async def _run_command(discord: Discord, member: Member, name: str, **options: object) -> str:
    answer = await discord.simulator.answer(await discord.simulator.slash(discord.lounge, member, name, options=options))
    assert answer.ephemeral
    return answer.content or str(answer.embeds[0])


async def test_status_names_unreadable_channels(discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState) -> None:
    overseeing = FixedOverview()
    overseeing.shown = Overview(images=7, stored_bytes=12_300_000, backlogs=[StageBacklog("embed", "image", 5, 1)])
    blind = Overwrite(discord.simulator.me(discord.guild), deny=Permission.READ_MESSAGE_HISTORY)
    secret = discord.simulator.add_text_channel(discord.guild, "blind", [blind])
    async with run_listening_gateway(discord, journal, state=state, overseeing=overseeing):
        await discord.post("a.png")
        await eventually(lambda: any(key.endswith(str(discord.gallery.id)) for key in state.entries))
        status = await _run_command(discord, alex, "archive status")
    for shown in (
        "**7** pictures",
        "12.3 MB",
        "embed (image): 5 waiting, 1 failed",
        f"<#{secret.id}>",
        f"<#{discord.gallery.id}>: <t:",
    ):
        assert shown in status


async def test_settings_are_shown_and_changed(discord: Discord, alex: Member, journal: MemoryJournal, state: MemoryState) -> None:
    async with run_listening_gateway(discord, journal, state=state):
        shown = await _run_command(discord, alex, "archive settings")
        options = {"private-answers": False, "repost-notice": "reply", "language": "de", "per-member": 3}
        changed = await _run_command(discord, alex, "archive settings", **options)
    stored = GuildSettings.model_validate_json(state.entries[settings_key(str(discord.guild.id))].value)
    assert (stored.private_answers, stored.repost_notice, stored.locale, stored.searches_per_member) == (False, "reply", "de", 3)
    assert "Only the member who searched" in shown
    assert "Everyone in the channel" in changed
