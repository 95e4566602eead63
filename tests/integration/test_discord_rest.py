"""Discord without a gateway login, as other processes use it: they deliver answers and refresh expired URLs."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from disnake.http import Route
from disnake.webhook.async_ import async_context

from contracts.errors import Reject, RejectCode, Retry
from contracts.events import DiscordFile
from contracts.ports import AnswerPage
from infra.discord.answers.webhook import WebhookAnswers
from infra.discord.gateway import simulator_endpoint
from infra.discord.rest.client import AttachmentUrls, RestClient
from infra.sandbox.simulator import (
    REST_PATHS,
    Channel,
    Interaction,
    Member,
    Message,
    Overwrite,
    Permission,
    Simulator,
    Stall,
    Status,
)
from infra.sandbox.simulator.client import VisibleAnswer as Seen
from tests.support.answers import answer, error_answer, found, piece
from tests.support.gateway import RecordingBot, log_in

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
WEBHOOKS = "*/webhooks/*"


@dataclass
class Place:
    simulator: Simulator
    channel: Channel
    steve: Member


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    async with Simulator() as simulator:
        simulator_endpoint(simulator.api_base).use()
        guild = simulator.add_guild("G")
        yield Place(simulator, simulator.add_text_channel(guild, "gallery"), simulator.add_member(guild, "Steve"))


@pytest.fixture
async def bot(place: Place) -> AsyncIterator[RecordingBot]:
    """A client that only defers interactions."""
    async with log_in(place.simulator) as bot:
        yield bot


@pytest.fixture
async def deferred(place: Place, bot: RecordingBot) -> tuple[Interaction, Any]:
    """A deferred interaction: the simulator's object, and the client's."""
    attachments = {"image": ("shot.png", PNG)}
    interaction = await place.simulator.slash(place.channel, place.steve, "find", attachments=attachments, options={"top": 1})
    heard = await bot.next("application_command")
    await bot.next("slash_command_completion")
    return interaction, heard


@pytest.fixture
def asked(deferred: tuple[Interaction, Any]) -> Interaction:
    return deferred[0]


@pytest.fixture
async def answers(place: Place) -> AsyncIterator[WebhookAnswers]:
    async with WebhookAnswers(timeout=1) as answers:
        yield answers


FOUND = answer(piece(found(3, 0.97, b"webp3", user_name="@everyone"), found(1)), pieces=2)
SECOND = answer(piece(found(2, 0.9, b"webp2")), number=1, pieces=2)
NOTHING = answer(verdict="none")


async def edit_answer(answers: WebhookAnswers, place: Place, interaction: Interaction, what: AnswerPage = NOTHING) -> None:
    await answers.edit(str(place.simulator.application_id), interaction.token, what)


def visible_parts(seen: Seen) -> tuple[object, ...]:
    """Return what people see of an answer, without the URLs, which change."""
    (embed,) = seen.embeds
    return seen.content, embed.get("title"), embed.get("description"), seen.attachments, list(seen.buttons)


async def test_an_answer_shows_an_embed_a_picture_and_buttons(place: Place, asked: Interaction, answers: WebhookAnswers) -> None:
    await edit_answer(answers, place, asked, FOUND)
    shown = await place.simulator.answer(asked)
    (embed,) = shown.embeds
    assert (embed["title"], embed["url"]) == ("Found it: first posted by Steve", "https://discord.com/channels/1/77/1")
    assert shown.attachments == [("map.webp", b"webp3")]
    assert embed["image"]["url"].startswith(place.simulator.cdn_origin)
    assert [button.label for button in shown.buttons.values()] == [
        "Go to the post",
        "Previous",
        "Next",
        "Posted 2 times",
        "This is it",
        "Not it",
    ]
    assert shown.ephemeral


async def test_a_picture_has_an_alternative_text(place: Place, asked: Interaction, answers: WebhookAnswers) -> None:
    await edit_answer(answers, place, asked, FOUND)
    (attachment,) = (await place.simulator.answer(asked)).message.attachments
    assert attachment.description == "The map art that @everyone posted"


async def test_sending_the_same_answer_twice_changes_nothing(place: Place, asked: Interaction, answers: WebhookAnswers) -> None:
    views = []
    for _ in range(2):
        await edit_answer(answers, place, asked, FOUND)
        views.append(visible_parts(await place.simulator.answer(asked)))
    assert views[0] == views[1]
    assert (await place.simulator.answer(asked)).edits == 2


async def test_a_later_answer_replaces_an_earlier_one(place: Place, asked: Interaction, answers: WebhookAnswers) -> None:
    views = []
    for what in (FOUND, SECOND, NOTHING, FOUND):
        await edit_answer(answers, place, asked, what)
        views.append(visible_parts(await place.simulator.answer(asked)))
    assert [attachments for _, _, _, attachments, _ in views] == [
        [("map.webp", b"webp3")],
        [("map.webp", b"webp2")],
        [],
        views[0][3],
    ]
    assert views[2][:2] == ("", "No match")
    assert views[2][4] == ["ms1:alert:1234567890123456789-12"]
    assert views[0] == views[3]


async def test_the_answer_to_a_rejected_search_has_no_buttons(place: Place, asked: Interaction, answers: WebhookAnswers) -> None:
    await edit_answer(answers, place, asked, error_answer(RejectCode.DAMAGED))
    shown = await place.simulator.answer(asked)
    assert (shown.embeds[0]["title"], shown.components) == ("Search failed", [])


async def test_a_progress_line_disappears_when_the_answer_arrives(
    place: Place, asked: Interaction, answers: WebhookAnswers
) -> None:
    application_id = str(place.simulator.application_id)
    for step, line in (("fetching", "Loading the picture…"), ("comparing", "Searching the archive…")):
        await answers.show_progress(application_id, asked.token, step, "en-US")
        shown = await place.simulator.answer(asked)
        assert (shown.content, shown.embeds) == (line, [])
    await edit_answer(answers, place, asked, FOUND)
    assert (await place.simulator.answer(asked)).content == ""


async def test_a_late_progress_line_does_not_replace_the_answer(place: Place, asked: Interaction, answers: WebhookAnswers) -> None:
    await edit_answer(answers, place, asked, FOUND)
    before = visible_parts(await place.simulator.answer(asked))
    await answers.show_progress(str(place.simulator.application_id), asked.token, "comparing", "de")
    during = visible_parts(await place.simulator.answer(asked))
    assert during == ("Das Archiv wird durchsucht …", *before[1:])
    await edit_answer(answers, place, asked, FOUND)
    assert visible_parts(await place.simulator.answer(asked)) == before


async def test_a_follow_up_message_gets_its_own_answer(place: Place, deferred: Any, answers: WebhookAnswers) -> None:
    interaction, heard = deferred
    application_id = str(place.simulator.application_id)
    await edit_answer(answers, place, interaction, FOUND)
    second = await heard.followup.send("2 of 2", ephemeral=True, wait=True)
    await answers.show_progress(application_id, interaction.token, "fetching", "en-US", message_id=str(second.id))
    await answers.edit(application_id, interaction.token, NOTHING, message_id=str(second.id))
    assert visible_parts(await place.simulator.answer(interaction))[1] == "Found it: first posted by Steve"
    (message,) = interaction.followups.values()
    assert (message.content, message.embeds[0]["title"]) == ("", "No match")


async def test_an_unknown_interaction_is_rejected_as_gone(place: Place, answers: WebhookAnswers) -> None:
    with pytest.raises(Reject) as caught:
        await answers.edit("42", "no-such-token", NOTHING)
    assert caught.value.code is RejectCode.GONE
    assert "no-such-token" not in f"{caught.value} {caught.value.__cause__}"


async def test_an_expired_token_is_rejected_as_gone(place: Place, asked: Interaction, answers: WebhookAnswers) -> None:
    place.simulator.now = lambda: datetime.now(UTC) + timedelta(minutes=16)
    with pytest.raises(Reject) as caught:
        await edit_answer(answers, place, asked)
    assert caught.value.code is RejectCode.GONE


@pytest.mark.parametrize(("fault", "after"), [(Status(500), None), (Status(503), None), (Status(429, retry_after=7.5), 7.5)])
async def test_a_temporary_error_is_raised_for_a_retry(
    place: Place, asked: Interaction, answers: WebhookAnswers, fault: Status, after: float | None
) -> None:
    place.simulator.faults.add(fault, WEBHOOKS)
    async with asyncio.timeout(1):
        with pytest.raises(Retry) as caught:
            await edit_answer(answers, place, asked)
    assert caught.value.after == after
    await edit_answer(answers, place, asked)
    assert (await place.simulator.answer(asked)).edits == 1


async def test_a_silent_discord_is_raised_for_a_retry(place: Place, asked: Interaction) -> None:
    place.simulator.faults.add(Stall(), WEBHOOKS)
    async with WebhookAnswers(timeout=0.1) as impatient:
        with pytest.raises(Retry, match="Timeout"):
            await edit_answer(impatient, place, asked)


async def test_an_unreachable_discord_is_raised_for_a_retry(place: Place, answers: WebhookAnswers) -> None:
    simulator_endpoint("http://127.0.0.1:9/api/v10").use()
    with pytest.raises(Retry, match="Connector"):
        await answers.edit("42", "token", NOTHING)


async def test_no_token_is_kept_or_logged(
    place: Place, asked: Interaction, answers: WebhookAnswers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    kept = list(async_context.get()._locks)
    await edit_answer(answers, place, asked)
    assert asked.token not in caplog.text
    assert list(async_context.get()._locks) == kept


@pytest.fixture
async def urls(place: Place) -> AsyncIterator[AttachmentUrls]:
    async with RestClient(place.simulator.token, timeout=2) as rest:
        yield AttachmentUrls(rest)


def discord_file(message: Message, image_id: object) -> DiscordFile:
    return DiscordFile(
        url="https://expired.example/a.png",
        channel_id=str(message.channel.id),
        message_id=str(message.id),
        attachment_id=str(image_id),
    )


async def get(url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.read()


async def test_an_expired_url_is_refreshed_without_a_gateway_login(place: Place, urls: AttachmentUrls) -> None:
    files = [("a.png", PNG), ("b.png", PNG + b"second")]
    message = await place.simulator.post(place.channel, place.steve, files=files)
    file = discord_file(message, message.attachments[1].id)
    old = await urls.fresh_url(file)
    place.simulator.expire_urls()
    assert (await get(old or ""))[0] == 404
    fresh = await urls.fresh_url(file)
    assert await get(fresh or "") == (200, PNG + b"second")
    assert not place.simulator.connected
    assert place.simulator.requests["GET /users/@me"] == 1


async def test_the_url_of_an_embeds_picture_is_refreshed_too(place: Place, urls: AttachmentUrls) -> None:
    embeds: list[dict[str, Any]] = [{"title": "none"}, {"image": {"url": "https://a.example/b.png"}}]
    message = await place.simulator.post(place.channel, place.steve, embeds=embeds)
    shown = discord_file(message, f"{message.id}-1").model_copy(update={"url": "https://a.example/b.png"})
    assert await urls.fresh_url(shown) == "https://a.example/b.png", "a log of before knows it by its place"
    assert await urls.fresh_url(discord_file(message, f"{message.id}-1")) is None


async def test_a_deleted_attachment_has_no_url(place: Place, urls: AttachmentUrls) -> None:
    message = await place.simulator.post(place.channel, place.steve, files=[("a.png", PNG)])
    file = discord_file(message, message.attachments[0].id)
    assert await urls.fresh_url(discord_file(message, 12345)) is None
    assert await urls.fresh_url(DiscordFile(url=file.url, attachment_id=file.attachment_id)) is None
    await place.simulator.delete(message)
    assert await urls.fresh_url(file) is None


async def test_a_channel_that_the_bot_may_not_read_has_no_url(place: Place, urls: AttachmentUrls) -> None:
    deny = Overwrite(place.simulator.me(place.channel.guild), deny=Permission.VIEW_CHANNEL)
    secret = place.simulator.add_text_channel(place.channel.guild, "secret", [deny])
    message = await place.simulator.post(secret, place.steve, files=[("a.png", PNG)])
    assert await urls.fresh_url(discord_file(message, message.attachments[0].id)) is None


async def test_a_rate_limit_is_waited_for(place: Place, urls: AttachmentUrls) -> None:
    message = await place.simulator.post(place.channel, place.steve, files=[("a.png", PNG)])
    place.simulator.faults.add(Status(429, retry_after=0.05), "*/messages/*")
    assert await urls.fresh_url(discord_file(message, message.attachments[0].id)) is not None


@pytest.mark.parametrize("fault", [Status(503), Status(500), Stall(), Status(429, retry_after=60), Status(401)])
async def test_an_error_of_discord_is_raised_for_a_retry(place: Place, fault: Status | Stall) -> None:
    message = await place.simulator.post(place.channel, place.steve, files=[("a.png", PNG)])
    file = discord_file(message, message.attachments[0].id)
    async with RestClient(place.simulator.token, timeout=0.2) as rest:
        impatient = AttachmentUrls(rest)
        place.simulator.faults.add(fault, REST_PATHS, times=None)
        with pytest.raises(Retry):
            await impatient.fresh_url(file)
        place.simulator.faults.clear()
        assert await impatient.fresh_url(file) is not None


async def test_a_refused_token_is_reported_without_the_token_and_leaves_nothing_open(place: Place) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    message = await place.simulator.post(place.channel, place.steve, files=[("a.png", PNG)])
    async with RestClient("refused.bot.token") as rest:
        urls = AttachmentUrls(rest)
        with pytest.raises(Retry, match="refused the bot token") as caught:
            await urls.fresh_url(discord_file(message, message.attachments[0].id))
    assert "refused.bot.token" not in str(caught.value)
    del rest, urls, caught
    gc.collect()
    assert complaints == []
