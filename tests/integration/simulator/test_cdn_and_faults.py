"""Signed URLs that expire, and faults during a download."""

import asyncio
from datetime import timedelta

import aiohttp
import pytest

from infra.sandbox.simulator import (
    CDN_PATHS,
    REST_PATHS,
    Channel,
    Drip,
    Endless,
    Member,
    Redirect,
    Simulator,
    Stall,
    Status,
    WrongLength,
)
from tests.support.gateway import RecordingBot, png_file


async def test_an_expired_url_is_refreshed_by_fetching_the_message(
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    posted = await sim.post(channel, steve, files=[("a.png", png_file())])
    old = (await bot.next("message")).attachments[0].url
    assert (await http.get(old)).status == 200
    for status in (404, 403):
        sim.expire_urls(status=status)
        assert (await http.get(old)).status == status
        fresh = (await bot.get_channel(channel.id).fetch_message(posted.id)).attachments[0]
        assert await fresh.read() == png_file()
    history = await bot.get_channel(channel.id).history().flatten()
    assert await history[0].attachments[0].read() == png_file()


async def test_a_url_expires_after_a_day_and_cannot_be_forged(
    sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    (file,) = (await sim.post(channel, steve, files=[("a.png", png_file())])).attachments
    (other,) = (await sim.post(channel, steve, files=[("b.png", png_file())])).attachments
    bare, query = file.url.split("?")
    for forged in (
        bare,
        file.url.replace("ex=", "ex=f"),
        other.url.split("?")[0] + "?" + query,
        bare + "?ex=&is=&hm=",
        bare + "0?" + query,
    ):
        assert (await http.get(forged)).status == 404
    assert (await http.get(file.url)).status == 200
    now = sim.now()
    sim.now = lambda: now + timedelta(hours=25)
    assert (await http.get(file.url)).status == 404


@pytest.fixture
async def picture(sim: Simulator, channel: Channel, steve: Member) -> str:
    """Return the URL of a posted picture."""
    (file,) = (await sim.post(channel, steve, files=[("a.png", png_file(64, 64))])).attachments
    return file.url


@pytest.mark.parametrize("status", [403, 404, 429, 500])
async def test_the_next_requests_get_the_status_of_a_fault(
    sim: Simulator, http: aiohttp.ClientSession, picture: str, status: int
) -> None:
    sim.faults.add(Status(status, retry_after=1.5), CDN_PATHS, times=2)
    answers = [await http.get(picture) for _ in range(3)]
    assert [each.status for each in answers] == [status, status, 200]
    assert answers[0].headers["Retry-After"] == "1.5"
    assert sim.requests["GET /attachments/{channel}/{attachment}/{filename}"] == 3
    assert sim.requests[f"GET {answers[0].url.path}"] == 3


async def test_a_fault_applies_to_its_path_and_can_be_removed(
    sim: Simulator, http: aiohttp.ClientSession, picture: str, channel: Channel, steve: Member
) -> None:
    (other,) = (await sim.post(channel, steve, files=[("b.png", png_file())])).attachments
    sim.faults.add(Status(500), "*/a.png", method="GET", times=None)
    assert [(await http.get(url)).status for url in (picture, other.url, picture)] == [500, 200, 500]
    assert (await http.head(picture)).status == 200
    sim.faults.clear()
    assert (await http.get(picture)).status == 200


async def test_the_client_waits_out_a_rate_limit(sim: Simulator, bot: RecordingBot, channel: Channel) -> None:
    sim.faults.add(Status(429, retry_after=0.01), f"{REST_PATHS}/messages")
    assert await bot.get_channel(channel.id).history().flatten() == []
    assert sim.requests["GET /channels/{channel}/messages"] == 2


async def test_a_redirect_goes_to_the_given_url(sim: Simulator, http: aiohttp.ClientSession, picture: str) -> None:
    sim.faults.add(Redirect("http://10.0.0.1/secret"), CDN_PATHS)
    response = await http.get(picture, allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (302, "http://10.0.0.1/secret")


async def test_a_slow_body_is_complete_at_the_end(sim: Simulator, http: aiohttp.ClientSession, picture: str) -> None:
    sim.faults.add(Drip(chunk=16, interval=0), CDN_PATHS)
    response = await http.get(picture)
    assert await response.content.readany() != png_file(64, 64)
    assert len(await response.read()) < len(png_file(64, 64))


async def test_a_stalled_body_never_ends(sim: Simulator, http: aiohttp.ClientSession, picture: str) -> None:
    sim.faults.add(Stall(), CDN_PATHS)
    response = await http.get(picture)
    half = await response.content.readexactly(len(png_file(64, 64)) // 2)
    assert png_file(64, 64).startswith(half)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(response.content.readany(), 0.05)
    response.close()


async def test_an_endless_body_outgrows_any_limit(sim: Simulator, http: aiohttp.ClientSession, picture: str) -> None:
    sim.faults.add(Endless(), CDN_PATHS)
    response = await http.get(picture)
    assert "Content-Length" not in response.headers
    assert (await response.content.readexactly(1_000_000)).startswith(png_file(64, 64))
    response.close()


async def test_a_body_may_be_shorter_than_its_declared_length(sim: Simulator, http: aiohttp.ClientSession, picture: str) -> None:
    size = len(png_file(64, 64))
    sim.faults.add(WrongLength(size + 10), CDN_PATHS)
    with pytest.raises(aiohttp.ClientPayloadError):
        await (await http.get(picture)).read()
    sim.faults.add(WrongLength(size - 10), CDN_PATHS)
    response = await http.get(picture)
    assert await response.read() == png_file(64, 64)[:-10]
