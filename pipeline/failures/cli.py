"""`mapseek failures`."""

from typing import Annotated

import typer

from pipeline.cli.app import app, complete_stage_names, out, prepare_settings, run_and_exit

failures_app = typer.Typer(help="Look at what a stage gave up, put it back or throw it away.", no_args_is_help=True)
app.add_typer(failures_app, name="failures")

IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `mapseek failures list` names them.")]
StageOption = Annotated[str | None, typer.Option(help="Those of this stage.", autocompletion=complete_stage_names)]
ReasonOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Those with this text in their reason.")]
GuildOption = Annotated[str | None, typer.Option(help="Those about this guild.")]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@failures_app.command("list")
def failures_list_command(
    stage: StageOption = None, reason: ReasonOption = None, guild: GuildOption = None, as_json: JsonOption = False
) -> None:
    """List the dead letters that lie open, and how many there are of each reason."""
    from pipeline.failures.command import Choice, list_failures

    run_and_exit(
        list_failures(prepare_settings(quiet=True), Choice(stage=stage, reason=reason, guild=guild), as_json=as_json, out=out)
    )


@failures_app.command("show")
def failures_show_command(
    letter: Annotated[str, typer.Argument(metavar="ID", help="As `mapseek failures list` names it.")], as_json: JsonOption = False
) -> None:
    """Show all of a dead letter: headers, traceback, payload."""
    from pipeline.failures.command import show_failure

    run_and_exit(show_failure(prepare_settings(quiet=True), letter, as_json=as_json, out=out))


@failures_app.command("retry")
def failures_retry_command(
    ids: IdsArgument = None,
    stage: StageOption = None,
    reason: ReasonOption = None,
    guild: GuildOption = None,
    everything: AllOption = False,
) -> None:
    """Put dead letters back where they failed. They are never lost on the way."""
    from pipeline.failures.command import Choice, retry_failures

    run_and_exit(retry_failures(prepare_settings(quiet=True), Choice(tuple(ids or ()), stage, reason, guild, everything), out))


@failures_app.command("discard")
def failures_discard_command(
    ids: IdsArgument = None,
    stage: StageOption = None,
    reason: ReasonOption = None,
    guild: GuildOption = None,
    everything: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Throw dead letters away for good."""
    from pipeline.failures.command import Choice, discard_failures

    choice = Choice(tuple(ids or ()), stage, reason, guild, everything)
    run_and_exit(discard_failures(prepare_settings(quiet=True), choice, yes=yes, out=out))
