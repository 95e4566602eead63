"""The gateway with the real disnake client on the simulated Discord: posts are recorded, and searches are deferred."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import DiscordReply, Fact, ImagePosted, SearchRequested
from infra.discord.gateway import run_gateway, simulator_endpoint
from infra.discord.services import GatewayPorts
from infra.discord.wording import localize
from infra.sandbox.simulator import Overwrite, Permission, Simulator
from tests.support.fakes import FixedOverview, MemoryAlerts, MemoryJournal, MemoryPosts, MemoryState, MemoryUnreadable
from tests.support.gateway import Discord, HookCalls, no_thumbnail, run_listening_gateway
from tests.support.waiting import AnsweredWhenCancelled, ends_when_cancelled, eventually

LINK = {"type": "image", "url": "https://a.example/b.png", "thumbnail": {"url": "https://a.example/b.png", "width": 9, "height": 8}}


def list_posted(journal: MemoryJournal) -> list[ImagePosted]:
    return [fact for fact in journal.facts if isinstance(fact, ImagePosted)]


def list_filenames(journal: MemoryJournal) -> list[str]:
    return [fact.filename for fact in list_posted(journal)]


@pytest.mark.usefixtures("hook_calls")
async def test_every_image_of_a_message_is_recorded(discord: Discord, journal: MemoryJournal) -> None:
    names = [f"{number}.png" for number in range(11)]
    message = await discord.post(*names, "notes.txt")
    await eventually(lambda: len(journal.facts) >= 11)
    assert list_filenames(journal) == names
    assert [fact.image_id for fact in list_posted(journal)] == [str(file.id) for file in message.attachments[:11]]
    assert {(fact.author.name, fact.message_link, fact.posted_at) for fact in list_posted(journal)} == {
        ("Steve", message.jump_url, message.posted_at)
    }
    assert {origin for _, origin in journal.recorded.values()} == {Origin(f"message-{message.id}")}


@pytest.mark.usefixtures("hook_calls")
async def test_a_message_delivered_three_times_is_recorded_once(discord: Discord, journal: MemoryJournal) -> None:
    message = await discord.post("a.png", "b.png")
    await discord.simulator.redeliver(message)
    await discord.simulator.redeliver(message)
    await eventually(lambda: journal.attempts == 6)
    assert list_filenames(journal) == ["a.png", "b.png"]


async def test_only_watched_channels_are_archived(discord: Discord, journal: MemoryJournal) -> None:
    async with run_listening_gateway(discord, journal, channels=[discord.gallery]):
        await discord.post("elsewhere.png", channel=discord.lounge)
        await discord.post("here.png")
        await eventually(lambda: journal.facts)
    assert list_filenames(journal) == ["here.png"]


@pytest.mark.usefixtures("hook_calls")
async def test_the_bots_own_pictures_are_not_archived_but_those_of_other_bots_are(discord: Discord, journal: MemoryJournal) -> None:
    other = discord.simulator.add_member(discord.guild, "Other bot")
    other.user.bot = True
    own = await discord.post("own.png", author=discord.simulator.me(discord.guild))
    await discord.simulator.edit(own, embeds=[LINK])
    await discord.post("other.png", author=other)
    await eventually(lambda: journal.facts)
    assert list_filenames(journal) == ["other.png"]


@pytest.mark.usefixtures("hook_calls")
async def test_a_link_that_discord_unfolds_later_is_recorded_once(discord: Discord, journal: MemoryJournal) -> None:
    message = await discord.simulator.post(discord.gallery, discord.steve, "https://a.example/b.png")
    await discord.simulator.edit(message, content="nothing to see yet")
    await discord.simulator.edit(message, embeds=[LINK])
    await discord.simulator.edit(message, content="look: https://a.example/b.png")
    await discord.post("after.png")
    await eventually(lambda: len(journal.facts) == 2)
    fact, _ = list_posted(journal)
    assert fact.image_id.startswith(f"{message.id}-")
    assert (fact.filename, fact.author.name) == ("b.png", "Steve")
    assert next(iter(journal.recorded.values()))[1] == Origin(f"message-{message.id}")


async def test_edits_in_unwatched_channels_are_ignored(discord: Discord, journal: MemoryJournal) -> None:
    async with run_listening_gateway(discord, journal, channels=[discord.gallery]):
        message = await discord.post(channel=discord.lounge)
        await discord.simulator.edit(message, embeds=[LINK])
        await discord.post("here.png")
        await eventually(lambda: journal.facts)
    assert list_filenames(journal) == ["here.png"]


async def test_posts_survive_an_outage_of_the_log(discord: Discord, journal: MemoryJournal, hook_calls: HookCalls) -> None:
    journal.down = True
    with capture_logs() as lines:
        for name in ("a.png", "b.png", "c.png"):
            await discord.post(name)
        await eventually(lambda: journal.attempts >= 2)
        journal.down = False
        await eventually(lambda: len(journal.facts) == 3)
    assert list_filenames(journal) == ["a.png", "b.png", "c.png"]
    assert [line["event"] for line in lines].count("recorder_waiting") == 1
    assert hook_calls.lost == 0


async def test_posts_received_before_the_end_are_still_recorded(discord: Discord, journal: MemoryJournal) -> None:
    journal.down = True
    async with run_listening_gateway(discord, journal):
        await discord.post("late.png")
        await eventually(lambda: journal.attempts)
        journal.down = False
    assert list_filenames(journal) == ["late.png"]


async def test_a_malformed_event_is_counted_and_the_next_one_received(
    discord: Discord, journal: MemoryJournal, hook_calls: HookCalls
) -> None:
    message = await discord.simulator.post_payload(discord.gallery, {"channel_id": "?"}, by=discord.steve)
    await discord.simulator.edit_payload(message, {"id": "?"})
    await discord.post("fine.png")
    await eventually(lambda: journal.facts and len(hook_calls.malformed) == 2)
    assert sorted(hook_calls.malformed) == ["MESSAGE_CREATE", "MESSAGE_UPDATE"]


async def test_a_new_session_works_like_the_first(discord: Discord, journal: MemoryJournal, hook_calls: HookCalls) -> None:
    await discord.simulator.disconnect(resumable=False)
    async with asyncio.timeout(4.5):  # disnake alone would wait five seconds before it identifies again
        await eventually(lambda: hook_calls.readies == 2)
    await discord.post("again.png")
    await eventually(lambda: journal.facts)
    assert list_filenames(journal) == ["again.png"]


async def test_a_search_is_deferred_before_it_is_recorded(discord: Discord) -> None:
    may_record = asyncio.Event()

    class Slow(MemoryJournal):
        async def record(self, fact: Fact, origin: Origin) -> bool:
            self.attempts += 1
            await may_record.wait()
            return await super().record(fact, origin)

    journal = Slow()
    hidden = Overwrite(discord.steve, deny=Permission.VIEW_CHANNEL)
    discord.simulator.add_text_channel(discord.guild, "staff", [hidden])
    async with run_listening_gateway(discord, journal):
        interaction = await discord.find()
        await eventually(lambda: journal.attempts)
        assert interaction.deferred_after_s < 3
        may_record.set()
        await eventually(lambda: journal.facts)
    ((fact, origin),) = journal.recorded.values()
    assert isinstance(fact, SearchRequested)
    assert origin == Origin(f"interaction-{interaction.id}")
    assert (fact.search_id, fact.filename, fact.question.asker.name) == (str(interaction.id), "shot.png", "Steve")
    assert fact.question.reply == DiscordReply(application_id=str(discord.simulator.application_id), token=interaction.token)
    assert set(fact.question.readable_channels or ()) == {str(discord.gallery.id), str(discord.lounge.id)}
    assert interaction.original.flags & 64  # ephemeral


@pytest.mark.usefixtures("hook_calls")
async def test_a_file_that_is_no_image_is_refused_at_once(discord: Discord, journal: MemoryJournal) -> None:
    answer = await discord.simulator.answer(await discord.find("notes.txt"))
    assert (answer.content, answer.ephemeral, answer.deferred_after_s) == (localize("en-US", "asking-not-an-image"), True, None)
    assert journal.facts == []


@pytest.mark.usefixtures("hook_calls")
async def test_a_search_during_an_outage_is_answered_with_an_error_message(discord: Discord, journal: MemoryJournal) -> None:
    journal.down = True
    interaction = await discord.find()
    answer = await discord.simulator.answer(interaction)
    sentence = localize("en-US", "failures-unavailable", reference=f"interaction-{interaction.id}")
    assert (answer.content, answer.ephemeral, answer.edits) == (sentence, True, 1)


@pytest.mark.usefixtures("hook_calls")
async def test_the_gateway_downloads_nothing(discord: Discord, journal: MemoryJournal) -> None:
    await discord.post("a.png")
    await discord.find()
    await eventually(lambda: len(journal.facts) == 2)
    assert [request for request in discord.simulator.requests if "attachments" in request] == []
    assert [request for request in discord.simulator.requests if request.endswith("/messages/{message}")] == []


async def test_no_token_is_logged(discord: Discord, journal: MemoryJournal, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with run_listening_gateway(discord, journal):
        interaction = await discord.find()
        await eventually(lambda: journal.facts)
    assert "disnake" in {record.name.split(".")[0] for record in caplog.records}
    assert interaction.token not in caplog.text
    assert discord.simulator.token not in caplog.text


@asynccontextmanager
async def check_nothing_left_open() -> AsyncIterator[None]:
    """Fail if a closed client leaves anything behind: sessions, connections, or tasks with unread errors."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    yield
    await eventually(lambda: not {task for task in asyncio.all_tasks() - before if "disnake" in repr(task)}, timeout=5)
    gc.collect()
    assert complaints == []


async def test_nothing_is_left_open_at_the_end(discord: Discord, journal: MemoryJournal) -> None:
    async with check_nothing_left_open():
        async with run_listening_gateway(discord, journal):
            await discord.post("a.png")
            await eventually(lambda: journal.facts)
        await eventually(lambda: not discord.simulator.connected)


def fake_ports() -> GatewayPorts:
    journal = MemoryJournal()
    return GatewayPorts(
        journal,
        MemoryState(),
        MemoryPosts(journal),
        MemoryAlerts(journal),
        FixedOverview(),
        lambda: datetime.now(UTC),
        journal.answered,
        no_thumbnail,
        MemoryUnreadable(),
    )


async def read_refusal(simulator: Simulator, token: str | None = None, base: Callable[[str], str] = str) -> str:
    """Return the message of the error with which the gateway ends."""
    async with check_nothing_left_open():
        with pytest.raises(MapSeekError) as caught:
            async with asyncio.timeout(10):
                await run_gateway(
                    token or simulator.token, fake_ports(), channels=None, endpoint=simulator_endpoint(base(simulator.api_base))
                )
    return str(caught.value)


async def test_a_bad_token_is_named() -> None:
    async with Simulator() as simulator:
        said = await read_refusal(simulator, "bad.token.altogether")
    assert said.startswith("Discord refused the token")
    assert "bad.token.altogether" not in said


async def test_a_token_that_is_refused_later_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token may be reset between the login and the gateway's IDENTIFY."""
    async with Simulator() as simulator:
        simulator._world.gateway._token = "another token"
        assert (await read_refusal(simulator)).startswith("Discord refused the token")


async def test_a_missing_intent_is_named_with_its_place() -> None:
    async with Simulator(message_content_intent=False) as simulator:
        said = await read_refusal(simulator)
    assert "Message Content intent" in said
    assert "Bot page" in said


async def test_an_unreachable_discord_is_named() -> None:
    async with Simulator() as simulator:
        said = await read_refusal(simulator, base=lambda _: "http://127.0.0.1:9/api/v10")
    assert "http://127.0.0.1:9/api/v10 cannot be reached" in said


async def test_the_gateway_ends_when_it_is_cancelled_at_the_start() -> None:
    """Python may lose the cancellation. Then disnake would stay connected without end."""
    losing, state = AnsweredWhenCancelled(), MemoryState()
    state.swap = losing  # type: ignore[method-assign]
    async with Simulator() as simulator, check_nothing_left_open():
        ports = replace(fake_ports(), state=state)
        gateway = run_gateway(simulator.token, ports, channels=None, endpoint=simulator_endpoint(simulator.api_base))
        assert await ends_when_cancelled(asyncio.create_task(gateway), losing)
