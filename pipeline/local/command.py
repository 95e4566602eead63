"""`mapseek archive` and `mapseek find`: archive and find local images. A stage that runs in no process is run here."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from contracts.errors import MapSeekError, format_count
from contracts.events import SearchPreprocessed
from contracts.text import escape_controls
from infra.nats.connection import connect
from pipeline.cli.app import print_json
from pipeline.cli.open import require_archive
from pipeline.cli.paths import refuse_unreadable
from pipeline.container import Container
from pipeline.engine.registry import STAGES
from pipeline.local.answers import ANSWER_LOCALE, ExplainedAnswer, answer_to_json, format_answer, render_answers_page
from pipeline.local.archive_and_find import LocalAnswer, archive_images, find_images, list_images_under
from pipeline.monitoring.status import find_idle_stages
from pipeline.process import Process, open_log_server, open_process
from pipeline.settings import Settings
from pipeline.stage_dependencies import build_explainer


@asynccontextmanager
async def _open_process(settings: Settings, lane: str) -> AsyncIterator[Process]:
    """Open a process that runs those stages of a lane that no other process runs. So a running `mapseek up` does the work."""
    async with open_log_server(settings) as address:
        client = await connect(address, "mapseek-local")
        try:
            idle = await find_idle_stages(client, [stage for stage in STAGES if lane in stage.families], lane)
        finally:
            await client.close()
        async with open_process(settings, address, idle) as process:
            yield process


async def archive_paths(settings: Settings, paths: Sequence[Path], guild: str, err: Console) -> int:
    """Archive files and folders with a progress bar. Return 1 if an image could not be archived.

    Raises MapSeekError if there is no image, or none that can be read.
    """
    files = list_images_under(paths)
    if not files:
        raise MapSeekError(f"There is no image in {', '.join(map(str, paths))}: name images, or folders with images.")
    refuse_unreadable(files)
    problems = 0
    columns = (TextColumn("archiving"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with _open_process(settings, "image") as process:
        client, container = process.container.client, process.container
        active = (await container.generations()).now.active
        name = active.name if active else ""
        with Progress(*columns, console=err) as progress:
            task = progress.add_task("archiving", total=len(files))
            async for archived in archive_images(client, container.journal, await container.blobs(), name, guild, files):
                progress.advance(task)
                if archived.problem is not None:
                    problems += 1
                    progress.console.print(escape_controls(f"{archived.path}: {archived.problem}"), markup=False, highlight=False)
    err.print(f"{format_count(len(files) - problems, 'image')} archived, {problems} not archived.", highlight=False)
    return 1 if problems else 0


async def find_paths(
    settings: Settings,
    paths: Sequence[Path],
    guild: str,
    *,
    top: int,
    timeout: float,
    as_json: bool,
    explain: Path | None,
    out: Console,
    err: Console,
) -> int:
    """Search for each image and print the answers in order. Return 1 if one of them is an error.

    If `explain` names a file, write to it why each match was found. Raises MapSeekError if that file cannot be written, if no image
    can be read, and if there is no archive.
    """
    if explain is not None:
        _refuse_unwritable(explain)
    refuse_unreadable(paths)
    require_archive(settings)
    explained: list[ExplainedAnswer] = []
    errors = 0
    untrained = False
    async with _open_process(settings, "search") as process:
        client, container = process.container.client, process.container
        answers = find_images(
            client,
            container.journal,
            await container.query_blobs(),
            await container.catalogue(),
            guild,
            paths,
            top=top,
            timeout=timeout,
        )
        async for answer in answers:
            errors += answer.verdict == "error"
            untrained |= not answer.trained
            if as_json:
                print_json(orjson.dumps(answer_to_json(answer)).decode(), out)
            else:
                out.print(*format_answer(answer), sep="\n", highlight=False, soft_wrap=True)
            if explain is not None:
                explained.append(await _explain(answer, container))
    if explain is not None:
        _write(explain, render_answers_page(explained))
        err.print(escape_controls(f"Why each match was found: {explain}"), highlight=False, markup=False, soft_wrap=True)
    if untrained:
        err.print("The model is untrained. It only finds pictures that are nearly the same.", style="yellow", soft_wrap=True)
    return 1 if errors else 0


def _refuse_unwritable(file: Path) -> None:
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise MapSeekError(f"{file} cannot be written: name a file in a folder that exists.")


def _write(file: Path, page: str) -> None:
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise MapSeekError(f"{file} cannot be written: {error.strerror}.") from None


async def _explain(answer: LocalAnswer, container: Container) -> ExplainedAnswer:
    """Return an answer with its pictures. They are read now, since the stores do not keep them for long."""
    matched, draw = answer.matched, await build_explainer(container)
    if matched is None:
        return ExplainedAnswer(answer, None, {})
    drawn = {
        match.image_id: await draw(matched, match, answer.documents[match.image_id], ANSWER_LOCALE) for match in answer.matches
    }
    query = await container.journal.fetch(SearchPreprocessed, matched.guild_id, matched.search_id)
    picture = await container.read_query_thumbnail(query.pixels) if query else None
    return ExplainedAnswer(answer, picture, {image_id: data for image_id, data in drawn.items() if data is not None})
