"""`mapseek up`, `run` and `gateway`."""

from typing import Annotated

import typer

from pipeline.cli.app import app, configured, stage_names, start


@app.command("up")
def up_command() -> None:
    """Run everything in one process.

    The gateway, every stage, and the log server unless NATS_URL names one.
    """
    from pipeline.commands.serve import serve_all

    start(serve_all(configured()))


@app.command("run")
def run_command(
    stages: Annotated[list[str], typer.Argument(help="As `mapseek status` names them.", autocompletion=stage_names)],
) -> None:
    """Run the named stages alone.

    On the log in NATS_URL, or of a running `mapseek up`.
    """
    from pipeline.commands.serve import serve_stages

    start(serve_stages(configured(), stages))


@app.command("gateway")
def gateway_command() -> None:
    """Run the Discord gateway alone.

    On the log in NATS_URL, or of a running `mapseek up`.
    """
    from pipeline.commands.serve import serve_gateway

    start(serve_gateway(configured()))
