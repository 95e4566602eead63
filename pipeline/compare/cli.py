"""`mapseek compare`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import app, err, out, prepare_settings, run_and_exit


@app.command("compare")
def compare_command(
    first: Annotated[str, typer.Argument(metavar="G1", help="The generation to compare with, as a rule the active one.")],
    second: Annotated[str, typer.Argument(metavar="G2", help="The generation that is to be better.")],
    queries: Annotated[
        Path | None,
        typer.Option(
            help="A folder of pictures and a queries.csv with the columns file and expected: a message link or an image id."
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=0, help="So many archived pictures, changed a little; 50 if there are no other questions."),
    ] = None,
    report: Annotated[Path, typer.Option(help="Where the HTML report is written.")] = Path("compare-report"),
) -> None:
    """Show which of two generations is right more often.

    Both are asked the same questions, the judged searches first.
    """
    from pipeline.compare.command import compare_generations

    run_and_exit(compare_generations(prepare_settings(quiet=True), first, second, queries, sample, report, out, err))
