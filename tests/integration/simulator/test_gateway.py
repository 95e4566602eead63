"""Sessions of the gateway: tokens, intents, resuming, and clients that break the protocol."""

import asyncio
import json
import threading
import time
from typing import Any

import aiohttp
import disnake
import pytest
from aiohttp import WSMsgType
from disnake.gateway import KeepAliveHandler

from infra.sandbox.simulator import Channel, Member, Simulator
from infra.sandbox.simulator import gateway as gateway_module
from tests.support.gateway import WAIT_S, RecordingBot, log_in, png_file, webhook


async def test_a_wrong_token_is_refused(sim: Simulator, channel: Channel) -> None:
    bot = RecordingBot()
    with pytest.raises(disnake.LoginFailure):
        await bot.start("wrong")
    await bot.close()
    async with aiohttp.ClientSession() as session:
        for path in (
            "/users/@me",
            f"/channels/{channel.id}/messages",
            f"/applications/{sim.application_id}/commands",
            "/gateway/bot",
        ):
            response = await session.get(sim.api_base + path)
            assert (response.status, (await response.json())["code"]) == (401, 0), path


async def test_an_intent_that_is_not_granted_closes_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Simulator(message_content_intent=False) as sim:
        monkeypatch.setattr(disnake.http.Route, "BASE", sim.api_base)
        bot = RecordingBot()
        with pytest.raises(disnake.PrivilegedIntentsRequired):
            await bot.start(sim.token)
        await bot.close()


async def test_without_the_content_intent_messages_are_empty(sim: Simulator, channel: Channel, steve: Member) -> None:
    async with log_in(sim, intents=disnake.Intents(guilds=True, guild_messages=True)) as bot:
        posted = await sim.post(channel, steve, "text", files=[("a.png", png_file())], embeds=[{"title": "x"}])
        history = await bot.get_channel(channel.id).history().flatten()
        for message in (await bot.next("message"), *history):
            assert (message.id, message.content, message.attachments, message.embeds) == (posted.id, "", [], [])


async def test_without_the_content_intent_the_bot_still_reads_its_own_messages(
    sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    async with log_in(sim, intents=disnake.Intents(guilds=True, guild_messages=True)) as bot:
        interaction = await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file())})
        await bot.next("slash_command_completion")
        await webhook(sim, http, interaction.token).edit_message("@original", content="mine")
        assert (await bot.next("raw_message_edit")).data["content"] == "mine"
        assert [message.content async for message in bot.get_channel(channel.id).history()] == ["mine"]


async def test_a_session_without_the_messages_intent_gets_no_messages(sim: Simulator, channel: Channel, steve: Member) -> None:
    async with log_in(sim, intents=disnake.Intents(guilds=True)) as bot:
        await sim.post(channel, steve, "unheard")
        await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file())})
        await bot.next("application_command")
        assert "message" not in bot.seen


async def test_a_lost_connection_is_resumed_with_missed_events(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member
) -> None:
    await sim.post(channel, steve, "before")
    await bot.next("message")
    await sim.disconnect(resumable=True)
    await sim.post(channel, steve, "meanwhile")
    await bot.next("resumed")
    assert (await bot.next("message")).content == "meanwhile"
    await sim.post(channel, steve, "after")
    assert (await bot.next("message")).content == "after"
    assert bot.seen.count("ready") == 1


async def test_an_invalid_session_starts_again_without_missed_events(
    bot: RecordingBot, sim: Simulator, channel: Channel, steve: Member
) -> None:
    await sim.disconnect(resumable=False)
    missed = await sim.post(channel, steve, "meanwhile")
    await bot.next("ready")
    await sim.post(channel, steve, "after")
    assert (await bot.next("message")).content == "after"
    assert "resumed" not in bot.seen
    assert missed.id in [message.id async for message in bot.get_channel(channel.id).history()]


async def test_the_gateway_works_without_compression_too(sim: Simulator, channel: Channel, steve: Member) -> None:
    async with log_in(sim, gateway_params=disnake.GatewayParams(zlib=False)) as bot:
        await sim.post(channel, steve, "plain")
        assert (await bot.next("message")).content == "plain"


IDENTIFY = {"token": "", "intents": 1, "properties": {}}


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (["{"], 4002),
        (['{"op": 1}'], 4002),
        ([{"op": 3, "d": {}}], 4003),
        ([{"op": 2, "d": {**IDENTIFY, "token": "wrong"}}], 4004),
        ([{"op": 6, "d": {"token": "wrong", "session_id": "x", "seq": 1}}], 4004),
        ([{"op": 2, "d": IDENTIFY}, {"op": 2, "d": IDENTIFY}], 4005),
        ([{"op": 2, "d": {**IDENTIFY, "intents": "all"}}], 4013),
        ([{"op": 2, "d": {**IDENTIFY, "intents": 1 << 1}}], 4014),
        ([{"op": 2, "d": IDENTIFY}, {"op": 99, "d": None}], 4001),
    ],
)
async def test_a_client_that_breaks_the_protocol_is_closed(sim: Simulator, frames: list[Any], code: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{await fetch_gateway_url(sim, session)}?v=10&encoding=json") as socket,
    ):
        for frame in frames:
            if isinstance(frame, dict) and frame["op"] == 2 and not frame["d"]["token"]:
                frame = {**frame, "d": {**frame["d"], "token": sim.token}}
            await socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))
        await wait_closed(socket)
        assert socket.close_code == code


async def test_an_unknown_session_is_invalid_and_a_heartbeat_is_acknowledged(sim: Simulator) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{await fetch_gateway_url(sim, session)}?v=10&encoding=json") as socket,
    ):
        assert (await socket.receive_json(timeout=WAIT_S))["op"] == 10
        await socket.send_json({"op": 1, "d": None})
        assert (await socket.receive_json(timeout=WAIT_S))["op"] == 11
        await socket.send_json({"op": 6, "d": {"token": sim.token, "session_id": "forgotten", "seq": 1}})
        invalid = await socket.receive_json(timeout=WAIT_S)
        assert (invalid["op"], invalid["d"]) == (9, False)


async def test_a_session_is_resumed_only_from_a_known_sequence(sim: Simulator) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{await fetch_gateway_url(sim, session)}?v=10&encoding=json"
        async with session.ws_connect(url) as socket:
            await socket.send_json({"op": 2, "d": {**IDENTIFY, "token": sim.token}})
            await socket.receive_json(timeout=WAIT_S)
            ready = await socket.receive_json(timeout=WAIT_S)
            await socket.close(code=4000)
        resume = {"token": sim.token, "session_id": ready["d"]["session_id"]}
        for sequence, op, event in ((ready["s"] + 1, 9, None), (None, 9, None), (ready["s"], 0, "RESUMED")):
            async with session.ws_connect(url) as socket:
                await socket.send_json({"op": 6, "d": {**resume, "seq": sequence}})
                await socket.receive_json(timeout=WAIT_S)
                answer = await socket.receive_json(timeout=WAIT_S)
                assert (answer["op"], answer["t"]) == (op, event)
                await socket.close(code=4000)


async def test_a_client_without_a_heartbeat_or_of_another_version_is_closed() -> None:
    async with Simulator(heartbeat_interval=0.05) as sim, aiohttp.ClientSession() as session:
        for query, code in (("v=10&encoding=json", 4009), ("v=9&encoding=json", 4012), ("v=10&encoding=etf", 4012)):
            async with session.ws_connect(f"{await fetch_gateway_url(sim, session)}?{query}") as socket:
                await wait_closed(socket)
                assert socket.close_code == code


async def test_a_heartbeat_is_acknowledged_only_after_its_client_has_noted_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """disnake's thread notes a heartbeat a moment after sending it. An earlier acknowledgement would count for the one before."""
    measured: asyncio.Queue[float] = asyncio.Queue()
    ack = KeepAliveHandler.ack

    def note(handler: KeepAliveHandler, moment: float) -> None:
        if threading.current_thread() is handler:
            time.sleep(0.02)
        vars(handler)["noted"] = moment

    def measure_latency(handler: KeepAliveHandler) -> None:
        ack(handler)
        measured.put_nowait(handler.latency)

    monkeypatch.setattr(KeepAliveHandler, "_last_send", property(lambda handler: vars(handler)["noted"], note), raising=False)
    monkeypatch.setattr(KeepAliveHandler, "ack", measure_latency)
    monkeypatch.setattr(gateway_module, "HEARTBEAT_ROUND_TRIP_S", 0.2)  # enough for a busy machine, too
    interval = 1.0
    async with Simulator(heartbeat_interval=interval) as sim:
        sim.add_guild("Mapmakers")
        monkeypatch.setattr(disnake.http.Route, "BASE", sim.api_base)
        async with log_in(sim):
            for _ in ("the one at the start", "the first of the thread"):
                assert await asyncio.wait_for(measured.get(), WAIT_S) < interval / 2


async def fetch_gateway_url(sim: Simulator, session: aiohttp.ClientSession) -> str:
    return str((await (await session.get(f"{sim.api_base}/gateway")).json())["url"])


async def wait_closed(socket: aiohttp.ClientWebSocketResponse) -> None:
    while (await socket.receive(timeout=WAIT_S)).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED):
        pass
