"""`mapseek demo`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import app, out, run_and_exit
from pipeline.logging import configure_logging


@app.command("demo")
def demo_command(report: Annotated[Path, typer.Option(help="Where the HTML report is written.")] = Path("demo-report")) -> None:
    """Play everything on a simulated Discord, and write a report.

    60 pieces of map art are posted and 28 questions asked. Then come the other features, and a change of the model.
    """
    from pipeline.demo.command import run_demo

    configure_logging("auto", "warning")
    run_and_exit(run_demo(report, out))
