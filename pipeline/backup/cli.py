"""The arguments of `mapseek export` and `mapseek import`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import app, err, out, prepare_settings, run_and_exit


@app.command("export")
def export_command(
    file: Annotated[Path, typer.Argument(help="The file to write. An earlier export is brought up to date.")],
) -> None:
    """Write the archive to one file, or bring that file up to date.

    It has the log, its pictures and the settings. Other processes may keep running.
    """
    from pipeline.backup.command import export_archive

    run_and_exit(export_archive(prepare_settings(quiet=True), file, out, err))


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="A file that `mapseek export` wrote.")],
    key: Annotated[
        str | None,
        typer.Option(metavar="KEYFILE", help="The file with the export key that the first export showed; - reads standard input."),
    ] = None,
    unauthenticated: Annotated[
        bool, typer.Option("--unauthenticated", help="Import although the file is not authenticated: anybody may have written it.")
    ] = False,
) -> None:
    """Restore an exported archive into an empty installation.

    If it is interrupted, run it again to resume.
    """
    from pipeline.backup.command import choose_import_key, import_archive

    chosen = choose_import_key(file, key, unauthenticated=unauthenticated)
    run_and_exit(import_archive(prepare_settings(quiet=True), file, chosen, out, err))
