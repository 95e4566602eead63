"""`mapseek up`, `run` and `gateway`: processes that work until they are told to stop."""

from collections.abc import Sequence
from typing import Any

from contracts.errors import MapSeekError
from contracts.stage import Stage
from infra.nats.server import announced_url
from pipeline.process import log_server, running, until_stopped
from pipeline.registry import STAGES, stages_named
from pipeline.settings import Settings, data_folder, require_token


async def serve_all(settings: Settings) -> None:
    """Everything in one process."""
    require_token(settings)
    async with log_server(settings) as url:
        await _serve(settings, url, STAGES, with_gateway=True)


async def serve_stages(settings: Settings, names: list[str]) -> None:
    """Some stages alone."""
    await _serve(settings, existing_log(settings), stages_named(names))


async def serve_gateway(settings: Settings) -> None:
    """The gateway alone."""
    require_token(settings)
    await _serve(settings, existing_log(settings), (), with_gateway=True)


async def _serve(settings: Settings, url: str, stages: Sequence[Stage[Any]], *, with_gateway: bool = False) -> None:
    async with running(settings, url, stages, with_gateway=with_gateway, monitored=True) as process:
        await until_stopped(process)


def existing_log(settings: Settings) -> str:
    """The URL of a log that somebody else runs. Raises MapSeekError when there is none."""
    url = settings.nats_url or announced_url(data_folder(settings) / "nats")
    if url is None:
        raise MapSeekError(f"No log is running on {settings.data_dir}: set NATS_URL, or start `mapseek up` there first.")
    return url
