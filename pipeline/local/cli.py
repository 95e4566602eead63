"""The arguments and options of `mapseek archive` and `mapseek find`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import LocalGuildOption, app, err, out, prepare_settings, run_and_exit


@app.command("archive")
def archive_command(
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")], guild: LocalGuildOption = "local"
) -> None:
    """Record local images as posts and wait until they can be found."""
    from pipeline.local.command import archive_paths

    run_and_exit(archive_paths(prepare_settings(quiet=True), paths, guild, err))


@app.command("find")
def find_command(
    images: Annotated[list[Path], typer.Argument(help="The images to look for.")],
    top: Annotated[int, typer.Option(min=1, max=100, help="Show at most this many matches for each image.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each image, one a line.")] = False,
    guild: LocalGuildOption = "local",
    timeout: Annotated[float, typer.Option(min=1, help="Wait at most this many seconds for each answer.")] = 60,
    explain: Annotated[
        Path | None, typer.Option(metavar="HTML", help="Write an HTML page to this file that shows why each match was found.")
    ] = None,
) -> None:
    """Find where images were first posted."""
    from pipeline.local.command import find_paths

    work = find_paths(
        prepare_settings(quiet=True), images, guild, top=top, timeout=timeout, as_json=as_json, explain=explain, out=out, err=err
    )
    run_and_exit(work)
