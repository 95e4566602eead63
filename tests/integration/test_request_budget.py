"""The shared request budget with real clients: disnake in the gateway, disnake without a gateway, and an aiohttp session."""

import asyncio
import inspect
from collections.abc import AsyncIterator

import aiohttp
import pytest
from disnake.http import HTTPClient, Route

from contracts.errors import Retry
from infra.discord.gateway import simulator_endpoint
from infra.discord.rest.client import RestClient
from infra.discord.rest.rate_limit import MAX_INVALID_REQUESTS, RequestBudget, RequestsPaused, build_trace_config
from infra.sandbox.simulator import Overwrite, Permission
from tests.support.fakes import MemoryJournal, MemoryState
from tests.support.gateway import Discord, run_listening_gateway, simulated_discord


@pytest.fixture
async def discord(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Discord]:
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    async with simulated_discord(rate_limits=True) as discord:
        simulator_endpoint(discord.simulator.api_base).use()
        yield discord


async def test_several_processes_stay_below_the_global_limit(discord: Discord) -> None:
    state = MemoryState()
    channels = [discord.simulator.add_text_channel(discord.guild, f"channel-{number}") for number in range(50)]
    logins = [RestClient(discord.simulator.token, RequestBudget(state)) for _ in range(3)]

    async def ask(login: RestClient, channel_id: int) -> None:
        async with login.client_for("for a channel") as client:
            await client.get_channel(channel_id)

    try:
        await asyncio.gather(*(ask(login, channel.id) for channel in channels for login in logins))
    finally:
        for login in logins:
            await login.close()
    assert discord.simulator.requests["GET /channels/{channel}"] == 150
    assert discord.simulator.invalid_requests == 0


def test_disnake_takes_no_tracing_yet() -> None:
    """If this fails, disnake accepts tracing: delete `limit` and give tracing to disnake's clients instead."""
    assert not [name for name in inspect.signature(HTTPClient.__init__).parameters if "trace" in name]


async def test_the_gateway_counts_its_requests_too(discord: Discord) -> None:
    state = MemoryState()
    async with run_listening_gateway(discord, MemoryJournal(), state=state):
        assert state.entries["requests.all"]


async def test_refusals_are_counted_and_requests_stop_before_a_ban(discord: Discord) -> None:
    state, clock = MemoryState(), 1_795_000_000.0
    budget = RequestBudget(state, clock=lambda: clock)
    me = discord.simulator.me(discord.guild)
    secret = discord.simulator.add_text_channel(discord.guild, "secret", [Overwrite(me, deny=Permission.VIEW_CHANNEL)])
    async with aiohttp.ClientSession(trace_configs=[build_trace_config(budget)]) as session:
        url = f"{discord.simulator.api_base}/channels/{secret.id}"
        async with session.get(url, headers={"Authorization": f"Bot {discord.simulator.token}"}) as response:
            assert response.status == 403
        assert b'"29916666":1' in state.entries["requests.invalid"].value
        for _ in range(MAX_INVALID_REQUESTS - 1):
            await budget.record_response(url, 403)
        sent = sum(discord.simulator.requests.values())
        with pytest.raises(RequestsPaused) as caught:
            await session.get(url)
    assert caught.value.after is not None
    assert caught.value.after > 600
    assert sum(discord.simulator.requests.values()) == sent


async def test_a_held_request_is_retried_after_the_window(discord: Discord) -> None:
    budget = RequestBudget(MemoryState())
    async with RestClient(discord.simulator.token, budget) as rest:
        async with rest.client_for("for nothing"):
            pass
        for _ in range(MAX_INVALID_REQUESTS):
            await budget.record_response(f"{discord.simulator.api_base}/channels/1", 429)
        with pytest.raises(Retry) as caught:
            async with rest.client_for("for a channel") as client:
                await client.get_channel(discord.gallery.id)
    assert caught.value.after is not None
