"""A wrong setup ends the program within seconds, with one sentence that says what to do."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.nats.connection import LogAddress
from tests.support.programs import log_environment, run_to_end
from tests.support.world import Discord, simulated_discord

BAD_TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.Gabcde.a-pass-word-that-nobody-may-see"
TIMEOUT_S = 100
"""Generous, since a busy machine needs most of it to import Python and torch."""


async def run_and_expect_error(*arguments: str, environment: dict[str, str]) -> str:
    """Run a command that must fail and return its one sentence on standard error. Log lines, which are JSON, are ignored."""
    result = await run_to_end(*arguments, environment=environment, timeout=TIMEOUT_S)
    assert result.code == 1
    assert result.out == ""
    assert "Traceback" not in result.err
    assert "pass-word" not in result.err
    said = [line for line in result.err.splitlines() if not line.startswith("{")]
    assert len(said) == 1, result.err
    assert re.fullmatch(r"mapseek: .+\.", said[0])
    return said[0]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(("command", "token"), [("up", ""), ("gateway", "   ")])
async def test_no_token(discord: Discord, tmp_path: Path, command: str, token: str) -> None:
    environment = discord.environment(tmp_path, DISCORD_TOKEN=token)
    assert "DISCORD_TOKEN is not set" in await run_and_expect_error(command, environment=environment)


async def test_a_bad_token(discord: Discord, tmp_path: Path, log_address: LogAddress) -> None:
    said = await run_and_expect_error(
        "gateway", environment=discord.environment(tmp_path, DISCORD_TOKEN=BAD_TOKEN, **log_environment(log_address))
    )
    assert "Discord refused the token" in said


async def test_a_bad_token_ends_everything(discord: Discord, tmp_path: Path) -> None:
    assert "Discord refused the token" in await run_and_expect_error(
        "up", environment=discord.environment(tmp_path, DISCORD_TOKEN=BAD_TOKEN)
    )


async def test_the_message_content_intent_is_missing(tmp_path: Path, log_address: LogAddress) -> None:
    async with simulated_discord(message_content_intent=False) as discord:
        said = await run_and_expect_error("gateway", environment=discord.environment(tmp_path, **log_environment(log_address)))
    assert "Message Content intent" in said


async def test_discord_cannot_be_reached(discord: Discord, tmp_path: Path, log_address: LogAddress) -> None:
    environment = discord.environment(tmp_path, **log_environment(log_address), MAPSEEK_DISCORD_API="http://127.0.0.1:9/api/v10")
    assert "cannot be reached" in await run_and_expect_error("gateway", environment=environment)


async def test_no_nats_server_answers(discord: Discord, tmp_path: Path) -> None:
    environment = discord.environment(tmp_path, NATS_URL="nats://mapseek:pass-word@127.0.0.1:9")
    said = await run_and_expect_error("run", "download", environment=environment)
    assert "No NATS server answers at nats://***@127.0.0.1:9" in said


async def test_a_data_folder_that_cannot_be_written(discord: Discord, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = await run_and_expect_error("up", environment=discord.environment(tmp_path / "file" / "data"))
    assert f"The data folder {tmp_path / 'file' / 'data'} cannot be written" in said


async def test_a_model_that_does_not_exist(discord: Discord, tmp_path: Path, log_address: LogAddress) -> None:
    environment = discord.environment(tmp_path, **log_environment(log_address), MAPSEEK_MODEL="ViT-B-33")
    said = await run_and_expect_error("run", "embed", environment=environment)
    assert "open_clip has no model called 'ViT-B-33'" in said
    assert "ViT-B-32" in said


async def test_a_stage_that_does_not_exist(discord: Discord, tmp_path: Path, log_address: LogAddress) -> None:
    said = await run_and_expect_error(
        "run", "download", "emebd", environment=discord.environment(tmp_path, **log_environment(log_address))
    )
    assert "There is no stage 'emebd'" in said


async def test_a_monitoring_port_that_is_taken(discord: Discord, tmp_path: Path, log_address: LogAddress, taken_port: int) -> None:
    environment = discord.environment(tmp_path, **log_environment(log_address), MAPSEEK_HTTP_PORT=str(taken_port))
    said = await run_and_expect_error("run", "download", environment=environment)
    assert f"The monitoring port 127.0.0.1:{taken_port} cannot be used" in said


async def test_a_nats_port_that_is_taken(discord: Discord, tmp_path: Path, taken_port: int) -> None:
    said = await run_and_expect_error("up", environment=discord.environment(tmp_path, MAPSEEK_NATS_PORT=str(taken_port)))
    assert f"Port {taken_port} is taken" in said


async def test_mongodb_is_chosen_but_not_named(discord: Discord, tmp_path: Path, log_address: LogAddress) -> None:
    environment = discord.environment(tmp_path, **log_environment(log_address), MAPSEEK_CATALOGUE="mongodb")
    assert "MONGODB_URI is not set" in await run_and_expect_error("run", "persist", environment=environment)


async def test_mongodb_is_down_at_the_start(discord: Discord, tmp_path: Path, log_address: LogAddress) -> None:
    uri = "mongodb://mapseek:pass-word@127.0.0.1:9"
    environment = discord.environment(tmp_path, **log_environment(log_address), MAPSEEK_CATALOGUE="mongodb", MONGODB_URI=uri)
    assert "MongoDB does not answer" in await run_and_expect_error("run", "persist", environment=environment)
