"""`mapseek rebuild catalogue` and `mapseek rebuild index`."""

from typing import Annotated

import typer

from pipeline.cli.app import app, err, out, prepare_settings, run_and_exit

rebuild_app = typer.Typer(
    help="Rebuild the catalogue or the index from the log.\n\nSearches are answered during a rebuild.", no_args_is_help=True
)
app.add_typer(rebuild_app, name="rebuild")

Verify = Annotated[bool, typer.Option("--verify", help="Only compare with the log. The exit code is 1 if there is a difference.")]


@rebuild_app.command("catalogue")
def rebuild_catalogue_command(verify: Verify = False) -> None:
    """Build a new catalogue from the log, then replace the old one with it."""
    from pipeline.projections.command import rebuild_and_report_catalogue

    run_and_exit(rebuild_and_report_catalogue(prepare_settings(quiet=True), verify=verify, out=out, err=err))


@rebuild_app.command("index")
def rebuild_index_command(verify: Verify = False) -> None:
    """Rebuild the indexes in every process that holds them, or their snapshots if no process does."""
    from pipeline.projections.command import rebuild_and_report_index

    run_and_exit(rebuild_and_report_index(prepare_settings(quiet=True), verify=verify, out=out, err=err))
