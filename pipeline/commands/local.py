"""`mapseek archive` and `mapseek find`: local images, with the stages that run already or with our own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from contracts.errors import MapSeekError
from infra.nats.connection import connect
from pipeline.console.answers import answer_json, answer_lines
from pipeline.local import archive, find, images_under
from pipeline.monitoring.status import idle_stages
from pipeline.process import Process, log_server, running
from pipeline.registry import STAGES
from pipeline.settings import Settings


@asynccontextmanager
async def _at_work(settings: Settings, lane: str) -> AsyncIterator[Process]:
    """A process with those stages of a lane that no other process works on, so that a running `mapseek up` is made use of."""
    async with log_server(settings) as url:
        client = await connect(url, "mapseek-local")
        try:
            idle = await idle_stages(client, [stage for stage in STAGES if lane in stage.families], lane)
        finally:
            await client.close()
        async with running(settings, url, idle) as process:
            yield process


async def archive_paths(settings: Settings, paths: Sequence[Path], guild: str, err: Console) -> int:
    """Archive files and folders with a progress bar. 1 if an image could not be archived."""
    files = images_under(paths)
    if not files:
        raise MapSeekError(f"There is no image in {', '.join(map(str, paths))}.")
    problems = 0
    columns = (TextColumn("archiving"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with _at_work(settings, "image") as process:
        client, wiring = process.wiring.client, process.wiring
        active = (await wiring.generations()).now.active
        name = active.name if active else ""
        with Progress(*columns, console=err) as progress:
            task = progress.add_task("archiving", total=len(files))
            async for archived in archive(client, wiring.journal, await wiring.blobs(), name, guild, files):
                progress.advance(task)
                if archived.problem is not None:
                    problems += 1
                    progress.console.print(f"{archived.path}: {archived.problem}", markup=False, highlight=False)
    err.print(f"{len(files) - problems} archived, {problems} not.", highlight=False)
    return 1 if problems else 0


async def find_paths(
    settings: Settings,
    paths: Sequence[Path],
    guild: str,
    *,
    top: int,
    timeout: float,
    as_json: bool,
    out: Console,
    err: Console,
) -> int:
    """Ask with each image and print the answers in order. 1 if one of them is an error."""
    errors = 0
    untrained = False
    async with _at_work(settings, "search") as process:
        client, wiring = process.wiring.client, process.wiring
        answers = find(
            client, wiring.journal, await wiring.questions(), await wiring.catalogue(), guild, paths, top=top, timeout=timeout
        )
        async for answer in answers:
            errors += answer.verdict == "error"
            untrained |= not answer.trained
            if as_json:
                out.out(orjson.dumps(answer_json(answer)).decode(), highlight=False)
            else:
                out.print(*answer_lines(answer), sep="\n", highlight=False, soft_wrap=True)
    if untrained:
        err.print(
            "The model is untrained: it knows pictures that are nearly the same, and little else.", style="yellow", soft_wrap=True
        )
    return 1 if errors else 0
