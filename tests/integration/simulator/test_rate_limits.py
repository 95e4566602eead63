"""Rate limits: in headers, enforced for each route and globally, respected by the real client, and a ban for ignoring them."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import disnake
import pytest

from infra.sandbox.simulator import Channel, Guild, Interaction, Member, Simulator, Status
from tests.support.gateway import RecordingBot, log_in, png_file, webhook


class ManualClock:
    """A clock whose time changes only when a test sets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def sim(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    async with Simulator(rate_limits=True) as simulator:
        monkeypatch.setattr(disnake.http.Route, "BASE", simulator.api_base)
        yield simulator


@pytest.fixture
def clock(sim: Simulator) -> ManualClock:
    sim.limits.clock = ManualClock()
    return sim.limits.clock


async def test_a_response_has_headers_about_its_bucket(
    sim: Simulator, clock: ManualClock, guild: Guild, channel: Channel, http: aiohttp.ClientSession
) -> None:
    url = f"{sim.api_base}/channels/{channel.id}/messages"
    first = (await http.get(url)).headers
    clock.now = 0.25
    second = (await http.get(url)).headers
    assert (first["X-RateLimit-Limit"], first["X-RateLimit-Remaining"], first["X-RateLimit-Reset-After"]) == ("5", "4", "1.000")
    assert (second["X-RateLimit-Remaining"], second["X-RateLimit-Reset-After"]) == ("3", "0.750")
    assert float(first["X-RateLimit-Reset"]) == pytest.approx(sim.now().timestamp() + 1, abs=5)
    elsewhere = sim.add_text_channel(guild, "elsewhere")
    other = (await http.get(f"{sim.api_base}/channels/{elsewhere.id}/messages")).headers
    assert (other["X-RateLimit-Bucket"], other["X-RateLimit-Remaining"]) == (first["X-RateLimit-Bucket"], "4")
    written = (await http.post(url, json={"content": "x"})).headers
    assert written["X-RateLimit-Bucket"] != first["X-RateLimit-Bucket"]


async def test_an_empty_bucket_refuses_requests_until_it_is_refilled(
    sim: Simulator, clock: ManualClock, channel: Channel, http: aiohttp.ClientSession
) -> None:
    url = f"{sim.api_base}/channels/{channel.id}/messages"
    assert [(await http.get(url)).status for _ in range(5)] == [200] * 5
    clock.now = 0.4
    refused = await http.get(url)
    body = await refused.json()
    assert (refused.status, body["retry_after"], body["global"]) == (429, 0.6, False)
    headers = refused.headers
    assert (headers["Via"], headers["Retry-After"], headers["X-RateLimit-Scope"]) == ("1.1 simulator", "1", "user")
    assert (headers["X-RateLimit-Remaining"], sim.invalid_requests) == ("0", 1)
    clock.now = 1.0
    assert (await http.get(url)).status == 200


async def test_the_global_limit_holds_for_all_routes_except_interactions(
    sim: Simulator, clock: ManualClock, guild: Guild, http: aiohttp.ClientSession
) -> None:
    sim.limits.global_limit = 3
    urls = [f"{sim.api_base}/channels/{sim.add_text_channel(guild, str(number)).id}" for number in range(4)]
    assert [(await http.get(url)).status for url in urls] == [200, 200, 200, 429]
    refused = await http.get(urls[0])
    assert (refused.headers["X-RateLimit-Scope"], refused.headers["X-RateLimit-Global"]) == ("global", "true")
    assert ((await refused.json())["global"], "X-RateLimit-Limit" in refused.headers) == (True, False)
    callback = await http.post(f"{sim.api_base}/interactions/1/forged/callback", json={"type": 5})
    hook = await http.get(f"{sim.api_base}/webhooks/{sim.application_id}/forged/messages/@original")
    assert (callback.status, hook.status) == (404, 404)
    assert ("X-RateLimit-Limit" in callback.headers, hook.headers["X-RateLimit-Limit"]) == (False, "5")
    clock.now = 1.0
    assert (await http.get(urls[0])).status == 200


async def test_a_client_with_too_many_invalid_requests_is_banned(
    sim: Simulator, clock: ManualClock, channel: Channel, http: aiohttp.ClientSession
) -> None:
    sim.limits.invalid_limit = 2
    url = f"{sim.api_base}/channels/{channel.id}"
    async with aiohttp.ClientSession() as stranger:
        assert [(await stranger.get(url)).status for _ in range(3)] == [401] * 3
    refused = await http.get(url)
    assert (refused.status, "Via" in refused.headers, refused.headers["Retry-After"]) == (429, False, "600")
    assert (refused.content_type, sim.invalid_requests) == ("text/plain", 4)
    assert (await http.post(f"{sim.api_base}/interactions/1/forged/callback", json={"type": 5})).status == 429
    clock.now = 600.0
    assert (await http.get(url)).status == 200


async def test_injected_refusals_count_too(sim: Simulator, channel: Channel, http: aiohttp.ClientSession) -> None:
    sim.faults.add(Status(429, retry_after=0.01), "/api/v10/channels/*")
    assert (await http.get(f"{sim.api_base}/channels/{channel.id}")).status == 429
    assert sim.invalid_requests == 1


async def test_the_real_client_respects_the_limits(sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member) -> None:
    for number in range(12):
        await sim.post(channel, steve, str(number))
    place = bot.get_channel(channel.id)
    got = [await place.history(limit=1).flatten() for _ in range(7)]
    assert ([len(each) for each in got], sim.invalid_requests) == ([1] * 7, 0)


async def test_the_real_client_waits_for_the_global_limit(sim: Simulator, bot: RecordingBot, guild: Guild) -> None:
    places = [sim.add_text_channel(guild, str(number)) for number in range(8)]
    sim.limits.global_limit = 5
    got = await asyncio.gather(*(bot.fetch_channel(each.id) for each in places))
    assert ([each.id for each in got], sim.invalid_requests > 0) == ([each.id for each in places], True)


async def test_another_process_waits_when_its_webhook_is_limited(
    sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    async with log_in(sim) as bot:
        interaction: Interaction = await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file())})
        await bot.next("slash_command_completion")
        for number in range(7):
            await webhook(sim, http, interaction.token).edit_message("@original", content=str(number))
    assert (await sim.answer(interaction)).content == "6"
    assert (interaction.edits, sim.requests["PATCH /webhooks/{application}/{token}/messages/{message}"]) == (
        7,
        7 + sim.invalid_requests,
    )


async def test_limits_are_off_by_default(channel: Channel, http: aiohttp.ClientSession) -> None:
    async with Simulator() as free:
        place = free.add_text_channel(free.add_guild("Free"), "x")
        async with aiohttp.ClientSession(headers={"Authorization": f"Bot {free.token}"}) as session:
            answers = [await session.get(f"{free.api_base}/channels/{place.id}/messages") for _ in range(60)]
    assert {(each.status, "X-RateLimit-Limit" in each.headers) for each in answers} == {(200, False)}
