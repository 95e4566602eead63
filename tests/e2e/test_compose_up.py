"""Starts docker-compose.yml with a real engine: members post and search in a simulated Discord, and the containers answer."""

import asyncio
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from infra.sandbox.art.generate import draw_piece
from infra.sandbox.simulator import Channel, Member, Simulator, VisibleAnswer
from infra.vision.distortions import encode_jpeg, encode_png, resize
from pipeline.engine.roles import list_roles
from tests.support.containers import (
    COMPOSE_FILE,
    Project,
    compose_project,
    find_host_address,
    is_standin,
    list_missing_images,
    list_own_services,
    list_services,
    list_stale_images,
    missing_engine_reason,
)
from tests.support.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(420)]

STARTED = {name: service for name, service in list_services().items() if "profiles" not in service and service["restart"] != "no"}
MONGODB = STARTED["mongodb"]["image"]
PIECES = 4


@pytest.fixture
def address() -> str:
    """The address at which the containers reach this machine. Skips with the reason if the project cannot be started."""
    if missing := missing_engine_reason():
        pytest.skip(f"compose is not brought up: {missing}")
    if absent := list_missing_images([service["image"] for service in STARTED.values()]):
        pytest.skip(f"compose is not brought up, and nothing is pulled in a test; images that are not here: {', '.join(absent)}")
    if stale := list_stale_images([service["image"] for service in list_own_services().values()]):
        pytest.skip(f"compose is not brought up: built from other sources than these: {', '.join(stale)} (`docker compose build`)")
    found = find_host_address(STARTED["gateway"]["image"])
    with socket.socket() as probe:
        try:
            probe.bind((found, 0))
        except OSError:
            pytest.skip(f"compose is not brought up: the engine's bridge address {found} is not this machine's")
    return found


@pytest.fixture
async def discord(address: str) -> AsyncIterator[Simulator]:
    async with Simulator(host=address) as simulator:
        yield simulator


@pytest.fixture
def project(discord: Simulator, tmp_path: Path) -> Iterator[Project]:
    password = secrets.token_hex(16)
    login = "" if is_standin(MONGODB) else f"mapseek:{password}@"  # the stand-in has no users
    variables = {
        "DISCORD_TOKEN": discord.token,
        "MAPSEEK_CHANNELS": "all",
        "MAPSEEK_DISCORD_API": discord.api_base,
        "MAPSEEK_CDN_ORIGINS": discord.cdn_origin,
        **{role.password_variable: secrets.token_hex(16) for role in list_roles()},
        "MONGODB_ROOT_PASSWORD": secrets.token_hex(16),
        "MONGODB_PASSWORD": password,
        "MONGODB_URI": f"mongodb://{login}mongodb:27017/mapseek?directConnection=true",
    }
    files = [COMPOSE_FILE, Path(__file__).with_name("compose.override.yml")]
    with compose_project(f"mapseek-test-{os.getpid()}", files, variables, tmp_path) as project:
        yield project


async def test_a_picture_posted_and_asked_for_is_found_by_containers_that_scale_and_stop_cleanly(
    discord: Simulator, project: Project
) -> None:
    guild = discord.add_guild("Cartographers")
    channel = discord.add_text_channel(guild, "maps")
    author, asker = discord.add_member(guild, "Mira"), discord.add_member(guild, "Tom")
    try:
        await asyncio.to_thread(project.compose, "up", "--detach", "--no-build")
        await _all_healthy(project, copies=1)
        await discord.wait_for_command("find", timeout=60)

        posts = [
            await discord.post(channel, author, files=[(f"{seed}.png", encode_png(draw_piece(seed)))])
            for seed in range(1, PIECES + 1)
        ]
        await eventually(lambda: _indexed(project) >= PIECES, timeout=90, every=1)
        assert str(posts[2].id) in _first_link(await _ask(discord, channel, asker, seed=3))

        await asyncio.to_thread(project.compose, "up", "--detach", "--no-build", "--scale", "embed=3")
        await _all_healthy(project, copies=3)
        assert str(posts[0].id) in _first_link(await _ask(discord, channel, asker, seed=1))

        await asyncio.to_thread(project.compose, "stop")
        codes = project.containers("{{.State.ExitCode}}")
        assert {name: code for name, code in codes.items() if _service(name) in list_own_services() and code != "0"} == {}
    except (AssertionError, TimeoutError):
        print(project.containers("{{.State.Status}} {{if .State.Health}}{{json .State.Health}}{{end}}"))
        print(project.logs())
        raise


async def _all_healthy(project: Project, *, copies: int) -> None:
    wanted = {name: copies if name == "embed" else 1 for name in STARTED}

    def ready() -> bool:
        healthy = [_service(name) for name, health in project.containers("{{.State.Health.Status}}").items() if health == "healthy"]
        return {name: healthy.count(name) for name in STARTED} == wanted

    await eventually(ready, timeout=180, every=1)


def _service(container: str) -> str:
    """Return the service of a container: `embed-2` in newer Compose, or `embed_2`."""
    return container.rstrip("0123456789").rstrip("-_")


def _indexed(project: Project) -> int:
    """Return how many vectors are in the catalogue."""
    rows = json.loads(project.compose("run", "--rm", "-T", "operator", "status", "--json"))
    return next((int(row["done"]) for row in rows if (row["stage"], row["generation"]) == ("persist", "g1")), 0)


async def _ask(discord: Simulator, channel: Channel, asker: Member, *, seed: int) -> VisibleAnswer:
    """Search with a picture as chats reduce it: half the size, as JPEG."""
    file = ("question.jpg", encode_jpeg(resize(draw_piece(seed), 0.5), 50))
    interaction = await discord.slash(channel, asker, "find", attachments={"image": file})
    return await discord.answer(interaction, embedded=True, timeout=60)


def _first_link(answer: VisibleAnswer) -> str:
    return next((str(embed["url"]) for embed in answer.embeds if embed.get("url")), f"no link: {answer.embeds}")
