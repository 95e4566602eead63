"""What other processes do at Discord without a login to its gateway: they deliver answers and refresh expired URLs."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from disnake.http import Route
from disnake.webhook.async_ import async_context

from contracts.errors import Reject, RejectCode, Retry
from contracts.events import DiscordFile, Verdict
from contracts.ports import Answer, Found
from infra.discord.answers import WebhookAnswers
from infra.discord.attachments import AttachmentUrls
from infra.discord.embeds import HEADLINES
from infra.discord.endpoint import simulated
from infra.discord.gateway import run_gateway
from infra.simulator import REST, Channel, Interaction, Member, Message, Overwrite, Permission, Simulator, Stall, Status
from tests.suites.fakes import MemoryJournal
from tests.suites.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
WEBHOOKS = "*/webhooks/*"


@dataclass
class Place:
    simulator: Simulator
    channel: Channel
    steve: Member

    async def ask(self) -> Interaction:
        return await self.simulator.slash(self.channel, self.steve, "find", attachments={"image": ("shot.png", PNG)})

    async def deferred(self) -> Interaction:
        interaction = await self.ask()
        await eventually(lambda: interaction.original)
        return interaction


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    async with Simulator() as simulator:
        simulated(simulator.api_base).use()
        guild = simulator.add_guild("G")
        yield Place(simulator, simulator.add_text_channel(guild, "gallery"), simulator.add_member(guild, "Steve"))


@pytest.fixture
async def asked(place: Place) -> AsyncIterator[Interaction]:
    """A question that the real gateway has deferred."""
    gateway = run_gateway(
        place.simulator.token, MemoryJournal(), channels=frozenset(), endpoint=simulated(place.simulator.api_base)
    )
    task = asyncio.create_task(gateway)
    await place.simulator.wait_for_command("find")
    yield await place.deferred()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def answers(place: Place) -> AsyncIterator[WebhookAnswers]:
    async with WebhookAnswers(timeout=1) as answers:
        yield answers


def answer(*numbers: int, verdict: Verdict = "match") -> Answer:
    metadata = {"upload_timestamp": "2024-03-01T12:30:00+00:00", "user_name": "@everyone", "filename": "map.png"}
    found = [
        Found(
            str(number),
            0.9,
            {"message_link": f"https://discord.com/channels/1/2/{number}", "metadata": metadata},
            b"webp%d" % number,
        )
        for number in numbers
    ]
    return Answer(verdict=verdict, found=found, trained=True)


async def edit(answers: WebhookAnswers, place: Place, interaction: Interaction, what: Answer | None = None) -> None:
    await answers.edit(str(place.simulator.application_id), interaction.token, what or answer(verdict="none"))


async def test_an_answer_shows_embeds_and_thumbnails(place: Place, asked: Interaction, answers: WebhookAnswers) -> None:
    await edit(answers, place, asked, answer(1, 2))
    shown = await place.simulator.answer(asked)
    summary, best, second = shown.embeds
    assert summary["title"] == HEADLINES["match"]
    assert (best["url"], second["url"]) == ("https://discord.com/channels/1/2/1", "https://discord.com/channels/1/2/2")
    assert shown.attachments == [("match-1.webp", b"webp1"), ("match-2.webp", b"webp2")]
    assert best["image"]["url"].startswith(place.simulator.cdn_origin)
    assert second["thumbnail"]["url"].startswith(place.simulator.cdn_origin)
    assert shown.ephemeral


async def test_the_same_answer_again_leaves_the_same_view(place: Place, asked: Interaction, answers: WebhookAnswers) -> None:
    views = []
    for _ in range(2):
        await edit(answers, place, asked, answer(1, 2))
        shown = await place.simulator.answer(asked)
        views.append((shown.content, [embed.get("description") for embed in shown.embeds], shown.attachments))
    assert views[0] == views[1]
    assert shown.edits == 2


async def test_a_later_answer_takes_the_place_of_an_earlier_one(place: Place, asked: Interaction, answers: WebhookAnswers) -> None:
    await edit(answers, place, asked, answer(1, 2))
    await edit(answers, place, asked, answer(verdict="none"))
    shown = await place.simulator.answer(asked)
    assert ([embed["title"] for embed in shown.embeds], shown.attachments) == ([HEADLINES["none"]], [])


async def test_an_unknown_interaction_is_gone(place: Place, answers: WebhookAnswers) -> None:
    with pytest.raises(Reject) as caught:
        await answers.edit("42", "no-such-token", answer(verdict="none"))
    assert caught.value.code is RejectCode.GONE
    assert "no-such-token" not in f"{caught.value} {caught.value.__cause__}"


async def test_an_expired_token_is_gone(place: Place, asked: Interaction, answers: WebhookAnswers) -> None:
    place.simulator.now = lambda: datetime.now(UTC) + timedelta(minutes=16)
    with pytest.raises(Reject) as caught:
        await edit(answers, place, asked)
    assert caught.value.code is RejectCode.GONE


@pytest.mark.parametrize(("fault", "after"), [(Status(500), None), (Status(503), None), (Status(429, retry_after=7.5), 7.5)])
async def test_what_may_work_later_is_tried_again_by_the_runner(
    place: Place, asked: Interaction, answers: WebhookAnswers, fault: Status, after: float | None
) -> None:
    place.simulator.faults.add(fault, WEBHOOKS)
    async with asyncio.timeout(1):
        with pytest.raises(Retry) as caught:
            await edit(answers, place, asked)
    assert caught.value.after == after
    await edit(answers, place, asked)
    assert (await place.simulator.answer(asked)).edits == 1


async def test_a_silent_discord_is_tried_again(place: Place, asked: Interaction) -> None:
    place.simulator.faults.add(Stall(), WEBHOOKS)
    async with WebhookAnswers(timeout=0.1) as impatient:
        with pytest.raises(Retry, match="Timeout"):
            await edit(impatient, place, asked)


async def test_an_unreachable_discord_is_tried_again(place: Place, answers: WebhookAnswers) -> None:
    simulated("http://127.0.0.1:9/api/v10").use()
    with pytest.raises(Retry, match="Connector"):
        await answers.edit("42", "token", answer(verdict="none"))


async def test_no_token_is_kept_or_logged(
    place: Place, asked: Interaction, answers: WebhookAnswers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await edit(answers, place, asked)
    assert asked.token not in caplog.text
    assert asked.token not in str(async_context.get()._locks)


@pytest.fixture
async def urls(place: Place) -> AsyncIterator[AttachmentUrls]:
    async with AttachmentUrls(place.simulator.token, timeout=2) as urls:
        yield urls


def file_of(message: Message, image_id: object) -> DiscordFile:
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
    file = file_of(message, message.attachments[1].id)
    old = await urls.fresh_url(file)
    place.simulator.expire_urls()
    assert (await get(old or ""))[0] == 404
    fresh = await urls.fresh_url(file)
    assert await get(fresh or "") == (200, PNG + b"second")
    assert not place.simulator.connected
    assert place.simulator.requests["GET /users/@me"] == 1


async def test_the_picture_of_an_embed_is_refreshed_too(place: Place, urls: AttachmentUrls) -> None:
    embeds: list[dict[str, Any]] = [{"title": "none"}, {"image": {"url": "https://a.example/b.png"}}]
    message = await place.simulator.post(place.channel, place.steve, embeds=embeds)
    assert await urls.fresh_url(file_of(message, f"{message.id}-1")) == "https://a.example/b.png"
    assert await urls.fresh_url(file_of(message, f"{message.id}-0")) is None


async def test_what_is_gone_has_no_url(place: Place, urls: AttachmentUrls) -> None:
    message = await place.simulator.post(place.channel, place.steve, files=[("a.png", PNG)])
    file = file_of(message, message.attachments[0].id)
    assert await urls.fresh_url(file_of(message, 12345)) is None
    assert await urls.fresh_url(DiscordFile(url=file.url, attachment_id=file.attachment_id)) is None
    await place.simulator.delete(message)
    assert await urls.fresh_url(file) is None


async def test_a_channel_that_the_bot_may_not_read_has_no_url(place: Place, urls: AttachmentUrls) -> None:
    deny = Overwrite(place.simulator.me(place.channel.guild), deny=Permission.VIEW_CHANNEL)
    secret = place.simulator.add_text_channel(place.channel.guild, "secret", [deny])
    message = await place.simulator.post(secret, place.steve, files=[("a.png", PNG)])
    assert await urls.fresh_url(file_of(message, message.attachments[0].id)) is None


async def test_a_rate_limit_is_waited_for(place: Place, urls: AttachmentUrls) -> None:
    message = await place.simulator.post(place.channel, place.steve, files=[("a.png", PNG)])
    place.simulator.faults.add(Status(429, retry_after=0.05), "*/messages/*")
    assert await urls.fresh_url(file_of(message, message.attachments[0].id)) is not None


@pytest.mark.parametrize("fault", [Status(503), Status(500), Stall(), Status(429, retry_after=60), Status(401)])
async def test_trouble_at_discord_is_tried_again(place: Place, fault: Status | Stall) -> None:
    message = await place.simulator.post(place.channel, place.steve, files=[("a.png", PNG)])
    file = file_of(message, message.attachments[0].id)
    async with AttachmentUrls(place.simulator.token, timeout=0.2) as impatient:
        place.simulator.faults.add(fault, REST, times=None)
        with pytest.raises(Retry):
            await impatient.fresh_url(file)
        place.simulator.faults.clear()
        assert await impatient.fresh_url(file) is not None


async def test_a_refused_token_is_no_secret_and_leaves_nothing_open(place: Place) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    message = await place.simulator.post(place.channel, place.steve, files=[("a.png", PNG)])
    async with AttachmentUrls("refused.bot.token") as urls:
        with pytest.raises(Retry, match="refused the bot token") as caught:
            await urls.fresh_url(file_of(message, message.attachments[0].id))
    assert "refused.bot.token" not in str(caught.value)
    del urls, caught
    gc.collect()
    assert complaints == []
