"""The archive through the real disnake client: missed posts are caught up, and deleted posts are removed."""

from contracts.events import ImagePosted, RemovalRequested
from contracts.state import HighWaterMark
from contracts.subjects import mark_key
from infra.sandbox.simulator import Overwrite, Permission
from tests.support.fakes import MemoryJournal, MemoryState
from tests.support.gateway import Discord, run_listening_gateway
from tests.support.waiting import eventually


def list_filenames(journal: MemoryJournal) -> list[str]:
    return [fact.filename for fact in journal.facts if isinstance(fact, ImagePosted)]


def list_removals(journal: MemoryJournal) -> list[RemovalRequested]:
    return [fact for fact in journal.facts if isinstance(fact, RemovalRequested)]


def read_mark(state: MemoryState, discord: Discord) -> int:
    entry = state.entries.get(mark_key(str(discord.guild.id), str(discord.gallery.id)))
    return int(HighWaterMark.model_validate_json(entry.value).message_id) if entry else 0


async def post_once(discord: Discord, journal: MemoryJournal, state: MemoryState, name: str = "first.png") -> None:
    """Run the gateway once with one post, so that there is a high-water mark."""
    async with run_listening_gateway(discord, journal, state=state):
        message = await discord.post(name)
        await eventually(lambda: read_mark(state, discord) == message.id)


async def test_older_posts_are_left_to_the_back_fill(discord: Discord, journal: MemoryJournal, state: MemoryState) -> None:
    old = await discord.post("old.png")
    async with run_listening_gateway(discord, journal, state=state):
        await eventually(lambda: read_mark(state, discord) == old.id)
        await discord.post("new.png")
        await eventually(lambda: journal.facts)
    assert list_filenames(journal) == ["new.png"]


async def test_300_missed_messages_are_read_in_order(discord: Discord, journal: MemoryJournal, state: MemoryState) -> None:
    await post_once(discord, journal, state)
    for number in range(300):
        last = await discord.post(f"{number}.png")
    async with run_listening_gateway(discord, journal, state=state):
        await eventually(lambda: read_mark(state, discord) == last.id)
    assert list_filenames(journal) == ["first.png", *(f"{number}.png" for number in range(300))]


async def test_an_interrupted_catch_up_is_continued(discord: Discord, journal: MemoryJournal, state: MemoryState) -> None:
    await post_once(discord, journal, state)
    for number in range(250):
        last = await discord.post(f"{number}.png")
    async with run_listening_gateway(discord, journal, state=state):
        await eventually(lambda: len(journal.facts) > 20)
    async with run_listening_gateway(discord, journal, state=state):
        await eventually(lambda: read_mark(state, discord) == last.id)
    assert list_filenames(journal) == ["first.png", *(f"{number}.png" for number in range(250))]


async def test_a_new_session_catches_up(discord: Discord, journal: MemoryJournal, state: MemoryState) -> None:
    async with run_listening_gateway(discord, journal, state=state) as hook_calls:
        await discord.post("a.png")
        await eventually(lambda: read_mark(state, discord))
        await discord.simulator.disconnect(resumable=False)
        missed = await discord.post("b.png")
        await eventually(lambda: hook_calls.readies == 2)
        await eventually(lambda: read_mark(state, discord) >= missed.id)
    assert list_filenames(journal) == ["a.png", "b.png"]


async def test_a_live_post_does_not_hide_missed_messages(discord: Discord, journal: MemoryJournal, state: MemoryState) -> None:
    """The catch-up fails. The high-water mark must stay, whatever is posted afterwards."""
    await post_once(discord, journal, state)
    before = read_mark(state, discord)
    missed = await discord.post("missed.png")
    hidden = Overwrite(discord.simulator.me(discord.guild), deny=Permission.READ_MESSAGE_HISTORY)
    discord.gallery.overwrites.append(hidden)
    async with run_listening_gateway(discord, journal, state=state):
        await discord.post("live.png")
        await eventually(lambda: "live.png" in list_filenames(journal))
    assert read_mark(state, discord) == before
    discord.gallery.overwrites.remove(hidden)
    async with run_listening_gateway(discord, journal, state=state):
        await eventually(lambda: read_mark(state, discord) > missed.id)
    assert list_filenames(journal) == ["first.png", "live.png", "missed.png"]


async def test_a_lost_post_is_read_again(discord: Discord, journal: MemoryJournal, state: MemoryState) -> None:
    await post_once(discord, journal, state)
    original_record = journal.record

    async def record(fact: ImagePosted, origin: object) -> bool:
        if isinstance(fact, ImagePosted) and fact.filename == "lost.png":
            raise ValueError("a fault of ours")
        return await original_record(fact, origin)  # type: ignore[arg-type]

    before = read_mark(state, discord)
    journal.record = record  # type: ignore[method-assign, assignment]
    async with run_listening_gateway(discord, journal, state=state) as hook_calls:
        await discord.post("lost.png")
        await discord.post("later.png")
        await eventually(lambda: hook_calls.lost and "later.png" in list_filenames(journal))
    assert read_mark(state, discord) == before
    journal.record = original_record  # type: ignore[method-assign]
    async with run_listening_gateway(discord, journal, state=state):
        await eventually(lambda: "lost.png" in list_filenames(journal))
    assert list_filenames(journal) == ["first.png", "later.png", "lost.png"]


async def test_the_removal_of_a_deleted_message_is_recorded_after_its_post(discord: Discord, journal: MemoryJournal) -> None:
    async with run_listening_gateway(discord, journal):
        journal.down = True
        message = await discord.post("a.png", "b.png")
        await discord.simulator.delete(message)
        await eventually(lambda: journal.attempts)
        journal.down = False
        await eventually(lambda: list_removals(journal))
    assert [fact.type_name() for fact in journal.facts] == ["image.posted", "image.posted", "removal.requested"]
    (removal,) = list_removals(journal)
    assert (removal.scope, removal.target, removal.removal_id) == ("message", str(message.id), f"deleted-{message.id}")


async def test_a_deleted_message_without_archived_images_is_no_fact(discord: Discord, journal: MemoryJournal) -> None:
    async with run_listening_gateway(discord, journal):
        await discord.simulator.delete(await discord.post())
        await discord.post("a.png")
        await eventually(lambda: journal.facts)
    assert list_removals(journal) == []


async def test_many_messages_deleted_at_once_are_removed(discord: Discord, journal: MemoryJournal) -> None:
    async with run_listening_gateway(discord, journal):
        messages = [await discord.post(f"{number}.png") for number in range(3)]
        await eventually(lambda: len(journal.facts) == 3)
        await discord.simulator.bulk_delete(messages)
        await eventually(lambda: len(list_removals(journal)) == 3)
    assert [fact.target for fact in list_removals(journal)] == [str(message.id) for message in messages]


async def test_an_attachment_dropped_by_an_edit_is_removed(discord: Discord, journal: MemoryJournal) -> None:
    async with run_listening_gateway(discord, journal):
        message = await discord.post("keep.png", "drop.png")
        await eventually(lambda: len(journal.facts) == 2)
        dropped = str(message.attachments[1].id)
        await discord.simulator.edit(message, content="still both")
        await discord.simulator.edit(message, attachments=message.attachments[:1])
        await eventually(lambda: list_removals(journal))
    (removal,) = list_removals(journal)
    assert (removal.scope, removal.target, removal.message_id) == ("image", dropped, str(message.id))


async def test_messages_deleted_while_the_bot_was_away_are_removed(
    discord: Discord, journal: MemoryJournal, state: MemoryState
) -> None:
    async with run_listening_gateway(discord, journal, state=state):
        messages = [await discord.post(f"{number}.png", f"{number}b.png") for number in range(3)]
        await eventually(lambda: len(journal.facts) == 6 and read_mark(state, discord) == messages[-1].id)
    dropped = str(messages[1].attachments[1].id)
    await discord.simulator.delete(messages[0])
    await discord.simulator.edit(messages[1], attachments=messages[1].attachments[:1])
    async with run_listening_gateway(discord, journal, state=state):
        await eventually(lambda: len(list_removals(journal)) == 2)
    assert {(fact.scope, fact.target) for fact in list_removals(journal)} == {
        ("message", str(messages[0].id)),
        ("image", dropped),
    }


async def test_an_unreadable_history_deletes_nothing(discord: Discord, journal: MemoryJournal, state: MemoryState) -> None:
    await post_once(discord, journal, state)
    discord.gallery.overwrites.append(Overwrite(discord.simulator.me(discord.guild), deny=Permission.READ_MESSAGE_HISTORY))
    async with run_listening_gateway(discord, journal, state=state):
        await discord.post("live.png", channel=discord.lounge)
        await eventually(lambda: "live.png" in list_filenames(journal))
        await eventually(lambda: discord.lounge.last_message_id)
    assert list_removals(journal) == []


async def test_a_deleted_channel_is_removed(discord: Discord, journal: MemoryJournal) -> None:
    async with run_listening_gateway(discord, journal):
        await discord.post("a.png")
        await eventually(lambda: journal.facts)
        await discord.simulator.delete_channel(discord.gallery)
        await eventually(lambda: list_removals(journal))
    (removal,) = list_removals(journal)
    assert (removal.scope, removal.target) == ("channel", str(discord.gallery.id))


async def test_a_channel_deleted_while_the_bot_was_away_is_removed(
    discord: Discord, journal: MemoryJournal, state: MemoryState
) -> None:
    await post_once(discord, journal, state)
    await discord.simulator.delete_channel(discord.gallery)
    async with run_listening_gateway(discord, journal, state=state):
        await eventually(lambda: list_removals(journal))
    assert [fact.target for fact in list_removals(journal)] == [str(discord.gallery.id)]


async def test_a_guild_that_removed_the_bot_is_removed_but_not_an_unavailable_one(discord: Discord, journal: MemoryJournal) -> None:
    async with run_listening_gateway(discord, journal):
        await discord.post("a.png")
        await eventually(lambda: journal.facts)
        other = discord.simulator.add_guild("Other")
        await discord.simulator.set_unavailable(other)
        await discord.simulator.remove_guild(discord.guild)
        await eventually(lambda: list_removals(journal))
    assert [(fact.scope, fact.target) for fact in list_removals(journal)] == [("guild", str(discord.guild.id))]


async def test_threads_opened_and_archived_while_the_bot_was_away_are_read(
    discord: Discord, journal: MemoryJournal, state: MemoryState
) -> None:
    forum = discord.simulator.add_forum(discord.guild, "art")
    await post_once(discord, journal, state)
    thread = await discord.simulator.add_thread(discord.gallery, "new thread")
    await discord.post("thread.png", channel=thread)
    gone = await discord.simulator.add_thread(discord.gallery, "archived thread")
    await discord.post("archived.png", channel=gone)
    await discord.simulator.archive_thread(gone)
    post = await discord.simulator.add_thread(forum, "a forum post")
    await discord.post("forum.png", channel=post)
    async with run_listening_gateway(discord, journal, state=state):
        await eventually(lambda: len(list_filenames(journal)) == 4)
    facts = {fact.filename: fact for fact in journal.facts if isinstance(fact, ImagePosted)}
    assert {name: fact.thread_of for name, fact in facts.items()} == {
        "first.png": None,
        "thread.png": str(discord.gallery.id),
        "archived.png": str(discord.gallery.id),
        "forum.png": str(forum.id),
    }
