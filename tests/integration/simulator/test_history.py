"""Message history: its order, its pages and its permissions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import disnake
import pytest

from infra.sandbox.simulator import Channel, Guild, Member, Overwrite, Permission, Simulator
from tests.support.gateway import RecordingBot, log_in


async def test_history_is_newest_first_whichever_way_it_is_paged(
    sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    ids = [str((await sim.post(channel, steve, str(day), at=start + timedelta(days=day))).id) for day in (4, 0, 1, 2, 3)]
    ids.sort(key=int)

    async def page(**query: Any) -> list[str]:
        response = await http.get(f"{sim.api_base}/channels/{channel.id}/messages", params=query)
        assert response.headers["Content-Type"] == "application/json"
        return [each["id"] for each in await response.json()]

    assert await page() == ids[::-1]
    assert await page(limit=2) == [ids[4], ids[3]]
    assert await page(limit=2, before=ids[3]) == [ids[2], ids[1]]
    assert await page(limit=2, after=ids[0]) == [ids[2], ids[1]]
    assert await page(limit=3, around=ids[2]) == [ids[3], ids[2], ids[1]]


async def test_the_client_pages_through_a_long_history(sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member) -> None:
    ids = [(await sim.post(channel, steve, "x")).id for _ in range(250)]
    history = bot.get_channel(channel.id).history(limit=None, after=disnake.Object(ids[9]))
    assert [message.id async for message in history] == ids[10:]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many"])
async def test_a_limit_out_of_range_is_refused(sim: Simulator, channel: Channel, http: aiohttp.ClientSession, limit: str) -> None:
    response = await http.get(f"{sim.api_base}/channels/{channel.id}/messages", params={"limit": limit})
    assert (response.status, (await response.json())["code"]) == (400, 50035)


async def test_without_the_permission_history_is_an_empty_list(sim: Simulator, guild: Guild, steve: Member) -> None:
    blind = sim.add_text_channel(guild, "blind", [Overwrite(guild.everyone, deny=Permission.READ_MESSAGE_HISTORY)])
    posted = await sim.post(blind, steve, "hello")
    async with log_in(sim) as bot:
        seen = bot.get_channel(blind.id)
        assert await seen.history().flatten() == []
        with pytest.raises(disnake.Forbidden):
            await seen.fetch_message(posted.id)
