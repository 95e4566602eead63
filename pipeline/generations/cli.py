"""`mapseek generations`, `activate`, `rollback` and `drop`."""

from typing import Annotated

import typer

from pipeline.cli.app import app, out, prepare_settings, run_and_exit

GenerationArgument = Annotated[str, typer.Argument(help="The name of a generation, from `mapseek generations`.")]


@app.command("generations")
def generations_command(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False) -> None:
    """List the generations: each holds all vectors of one model.

    Shows its state, encoder, weights and preprocessing, its images, how many it lacks, and its size.
    """
    from pipeline.generations.command import show_generations

    run_and_exit(show_generations(prepare_settings(quiet=True), as_json=as_json, out=out))


@app.command("activate")
def activate_command(
    name: GenerationArgument,
    force: Annotated[bool, typer.Option("--force", help="Activate it even if images are missing, and print how many.")] = False,
) -> None:
    """Answer searches from this generation from now on.

    Every process switches within a second, without a restart.
    """
    from pipeline.generations.command import activate_generation

    run_and_exit(activate_generation(prepare_settings(quiet=True), name, force=force, out=out))


@app.command("rollback")
def rollback_command() -> None:
    """Answer searches from the generation that was active before."""
    from pipeline.generations.command import roll_back

    run_and_exit(roll_back(prepare_settings(quiet=True), out))


@app.command("drop")
def drop_command(name: GenerationArgument) -> None:
    """Erase a generation that does not answer searches.

    Its vectors are deleted from the log, the catalogue and the index.
    """
    from pipeline.generations.command import drop_generation

    run_and_exit(drop_generation(prepare_settings(quiet=True), name, out))
