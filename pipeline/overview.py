"""How a guild's archive does: what `/archive status` shows its managers."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from contracts.ports import Catalogue, Lag, Overview
from contracts.stage import Stage
from infra.nats.connection import Client
from pipeline.monitoring.status import StageStatus, status


class Overseer:
    """The Overseeing port: the catalogue counts, the folder of blobs is measured, the log knows what waits."""

    def __init__(self, client: Client, stages: Sequence[Stage[Any]], catalogue: Catalogue, blobs: Path) -> None:
        self._client = client
        self._stages = stages
        self._catalogue = catalogue
        self._blobs = blobs

    async def overview(self, guild_id: str) -> Overview:
        stages = await status(self._client, self._stages, sample_s=0)
        return Overview(
            images=await self._catalogue.count(guild_id),
            stored_bytes=await asyncio.to_thread(_size_of, self._blobs),
            lags=_lags(stages),
        )


def _lags(stages: Sequence[StageStatus]) -> list[Lag]:
    """What each stage has to do in each lane, for all generations together."""
    lags: dict[tuple[str, str], Lag] = {}
    for each in stages:
        before = lags.get((each.stage, each.lane), Lag(each.stage, each.lane, 0, 0))
        pending = before.pending + each.pending + each.in_flight
        lags[each.stage, each.lane] = Lag(each.stage, each.lane, pending, before.failures + each.dead_letters)
    return list(lags.values())


def _size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # it was being written, or was forgotten, just now
            total += file.stat().st_size if file.is_file() else 0
    return total
