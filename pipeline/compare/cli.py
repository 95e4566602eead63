"""The arguments and options of `mapseek compare`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import app, err, out, prepare_settings, run_and_exit


@app.command("compare")
def compare_command(
    first: Annotated[str, typer.Argument(metavar="G1", help="The generation to compare with, usually the active one.")],
    second: Annotated[str, typer.Argument(metavar="G2", help="The generation that should be better.")],
    queries: Annotated[
        Path | None,
        typer.Option(
            help="A folder with your pictures and a queries.csv. Its columns: file, and expected (a message link or an image id)."
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Search with this many archived pictures, changed a little. Default: 50 if there are no other queries, else 0.",
        ),
    ] = None,
    report: Annotated[Path, typer.Option(help="The folder to write the HTML report to.")] = Path("compare-report"),
) -> None:
    """Show which of two generations is right more often.

    Runs the same queries in both: searches that members voted on, your pictures, and archived pictures, changed a little.
    """
    from pipeline.compare.command import compare_generations

    run_and_exit(compare_generations(prepare_settings(quiet=True), first, second, queries, sample, report, out, err))
