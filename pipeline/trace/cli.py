"""`mapseek trace`."""

from typing import Annotated

import typer

from pipeline.cli.app import app, out, prepare_settings, run_and_exit

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("trace")
def trace_command(
    what: Annotated[str, typer.Argument(help="An image's id, a message's link, or a search's id.")], as_json: JsonOption = False
) -> None:
    """Tell all that happened to an image, a message or a search.

    Stage by stage, and where it stands now.
    """
    from pipeline.trace.command import trace_entities

    run_and_exit(trace_entities(prepare_settings(quiet=True), what, as_json=as_json, out=out))
