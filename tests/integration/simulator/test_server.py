"""The simulator as a server: unknown routes, its port, and its restart."""

import aiohttp
import pytest

from contracts.errors import MapSeekError
from infra.sandbox.simulator import Channel, Member, Simulator
from tests.support.gateway import RecordingBot


async def test_an_unknown_route_is_answered_as_discord_does(sim: Simulator, http: aiohttp.ClientSession) -> None:
    missing = await http.get(f"{sim.api_base}/stickers/1")
    assert (missing.status, missing.headers["Content-Type"]) == (404, "application/json")
    assert (await missing.json())["message"] == "404: Not Found"
    assert (await http.delete(f"{sim.api_base}/users/@me")).status == 405


async def test_a_taken_port_is_refused_with_one_sentence(sim: Simulator) -> None:
    with pytest.raises(MapSeekError, match="cannot listen on port"):
        await Simulator(port=int(sim.cdn_origin.rsplit(":", 1)[1])).start()


async def test_a_restarted_simulator_has_the_same_port_and_the_client_reconnects(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member
) -> None:
    before = sim.api_base
    await sim.stop()
    await sim.start()
    assert sim.api_base == before
    await bot.next("ready")
    await sim.post(channel, steve, "back")
    assert (await bot.next("message")).content == "back"
