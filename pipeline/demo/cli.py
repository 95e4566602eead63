"""The option of `mapseek demo`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import app, out, run_and_exit
from pipeline.logging import configure_logging


@app.command("demo")
def demo_command(
    report: Annotated[Path, typer.Option(help="The folder to write the HTML report to.")] = Path("demo-report"),
) -> None:
    """Show every feature on a simulated Discord, and write a report.

    Members post 60 pieces of map art and make 28 searches. Then come the other features, and a change of the model.
    """
    from pipeline.demo.command import run_demo

    configure_logging("auto", "warning")
    run_and_exit(run_demo(report, out))
