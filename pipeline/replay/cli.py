"""The options of `mapseek replay` and of its commands pause, resume and cancel."""

import re
from typing import Annotated

import typer

from contracts.errors import MapSeekError
from pipeline.cli.app import app, complete_stage_names, err, out, prepare_settings, run_and_exit

replay_app = typer.Typer(invoke_without_command=True)
app.add_typer(replay_app, name="replay")

BuildName = Annotated[str, typer.Argument(help="The generation that is being built.")]


def _id(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise typer.BadParameter("an id has 1 to 64 letters, digits, hyphens or underscores")
    return value


def _name(value: str | None) -> str | None:
    """Check a generation's name. Its consumers are named after it, so only what is valid in their names is valid in this one."""
    if value is not None and value.endswith("-past"):
        raise typer.BadParameter("a name cannot end in -past: the names of replay consumers end so")
    if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", value):
        raise typer.BadParameter("a generation's name has 1 to 32 letters, digits, hyphens or underscores")
    return value


@replay_app.callback()
def replay_command(
    context: typer.Context,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Build a generation with this model: one that ships with MapSeek, or one of open_clip."),
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            metavar="TAG_OR_FILE",
            help="The model's weights: a tag of open_clip or a file. Default: those that ship with MapSeek, else random ones.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            callback=_name,
            help="The name of the new generation. Without --encoder: the build to resume. Default: the next of g1, g2, ...",
        ),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Replay this stage.", autocompletion=complete_stage_names)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only facts recorded since this time: `2026-11-21`, `2026-11-21T15:30+01:00`, or `2d` for two days ago.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only facts recorded before this time, written as for --since.")
    ] = None,
    from_seq: Annotated[
        int | None, typer.Option("--from-seq", min=1, help="Only facts from this position of the log onwards.")
    ] = None,
    image: Annotated[str | None, typer.Option(metavar="ID", callback=_id, help="Only this image.")] = None,
    guild: Annotated[str | None, typer.Option(metavar="ID", callback=_id, help="Only this guild.")] = None,
    generation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", callback=_id, help="Only this generation. Only for a stage that works once for each generation."
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Handle at most this many messages a second in this process.")
    ] = None,
    max_load: Annotated[
        float | None,
        typer.Option("--max-load", min=0, help="Start no new work while the machine's load average is higher than this."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show how much there is to do. Records nothing.")] = False,
) -> None:
    """Build a generation with another model, or replay a stage.

    --encoder starts a generation, --name resumes one, --stage replays a stage.

    A generation is built from the stored pictures, without downloads. A replay notifies nobody, and searches have priority.

    If it is interrupted, run the same command again to resume. Several processes can share the work.
    """
    if context.invoked_subcommand is not None:
        return
    part = {"since": since, "until": until, "from_seq": from_seq, "image": image, "guild": guild}
    if stage is not None:
        _refuse({"encoder": encoder, "pretrained": pretrained, "name": name}, "--stage replays a stage")
        from pipeline.replay.command import Pace, replay_stage
        from pipeline.replay.stage_replay import Part

        chosen = Part(**part)  # type: ignore[arg-type]
        pace = Pace(rate, max_load)
        run_and_exit(
            replay_stage(prepare_settings(quiet=True), stage, chosen, generation, pace=pace, dry_run=dry_run, out=out, err=err)
        )
    if encoder is None and name is None:
        raise MapSeekError("Say what to replay: --encoder MODEL builds a generation, --name resumes one, --stage replays a stage.")
    _refuse({**part, "generation": generation}, "a generation is built from the whole archive")
    if encoder is None:
        _refuse({"pretrained": pretrained}, "a generation that is resumed has its weights already")
    from pipeline.replay.command import Pace, build_generation, estimate_generation

    if dry_run:
        run_and_exit(estimate_generation(prepare_settings(quiet=True), encoder, pretrained, name, out=out))
    pace = Pace(rate, max_load)
    run_and_exit(build_generation(prepare_settings(quiet=True), encoder, pretrained, name, pace=pace, out=out, err=err))


def _refuse(options: dict[str, object], why: str) -> None:
    for option, value in options.items():
        if value is not None:
            raise MapSeekError(f"Leave out --{option.replace('_', '-')}: {why}.")


@replay_app.command("pause")
def replay_pause_command(name: BuildName) -> None:
    """Pause a build in every process until it is resumed."""
    from pipeline.replay.command import pause_build

    run_and_exit(pause_build(prepare_settings(quiet=True), name, out))


@replay_app.command("resume")
def replay_resume_command(name: BuildName) -> None:
    """Resume a paused build."""
    from pipeline.replay.command import resume_build

    run_and_exit(resume_build(prepare_settings(quiet=True), name, out))


@replay_app.command("cancel")
def replay_cancel_command(name: BuildName) -> None:
    """Cancel the build of a generation, and erase its vectors and fingerprints."""
    from pipeline.replay.command import cancel_build

    run_and_exit(cancel_build(prepare_settings(quiet=True), name, out))
