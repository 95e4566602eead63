"""The argument and option of `mapseek trace`."""

from typing import Annotated

import typer

from pipeline.cli.app import app, out, prepare_settings, run_and_exit

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("trace")
def trace_command(
    what: Annotated[str, typer.Argument(help="The id of an image or a search, or the link of a message.")],
    as_json: JsonOption = False,
) -> None:
    """Show what happened to an image, a message or a search.

    Shows each step with its time, and what the catalogue and each generation have now.
    """
    from pipeline.trace.command import trace_entities

    run_and_exit(trace_entities(prepare_settings(quiet=True), what, as_json=as_json, out=out))
