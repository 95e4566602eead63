"""`mapseek rebuild catalogue` and `mapseek rebuild index`."""

from typing import Annotated

import typer

from pipeline.cli.app import app, err, out, prepare_settings, run_and_exit

rebuild_app = typer.Typer(help="Make the catalogue or the index anew while searches go on.", no_args_is_help=True)
app.add_typer(rebuild_app, name="rebuild")

Verify = Annotated[bool, typer.Option("--verify", help="Only compare what there is with the log; exit code 1 if it differs.")]


@rebuild_app.command("catalogue")
def rebuild_catalogue_command(verify: Verify = False) -> None:
    """Make the catalogue anew beside the one that answers, and let it take its place."""
    from pipeline.projections.command import rebuild_and_report_catalogue

    run_and_exit(rebuild_and_report_catalogue(prepare_settings(quiet=True), verify=verify, out=out, err=err))


@rebuild_app.command("index")
def rebuild_index_command(verify: Verify = False) -> None:
    """Make the vector index anew in every process that holds it, or its snapshot where none does."""
    from pipeline.projections.command import rebuild_and_report_index

    run_and_exit(rebuild_and_report_index(prepare_settings(quiet=True), verify=verify, out=out, err=err))
