"""`mapseek failures`."""

from typing import Annotated

import typer

from pipeline.cli.app import app, configured, out, stage_names, start

failures_app = typer.Typer(help="Look at what a stage gave up, put it back or throw it away.", no_args_is_help=True)
app.add_typer(failures_app, name="failures")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `mapseek failures list` names them.")]
Stage = Annotated[str | None, typer.Option(help="Those of this stage.", autocompletion=stage_names)]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Those with this text in their reason.")]
Guild = Annotated[str | None, typer.Option(help="Those about this guild.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@failures_app.command("list")
def failures_list_command(stage: Stage = None, reason: Reason = None, guild: Guild = None, as_json: Json = False) -> None:
    """List the dead letters that lie open, and how many there are of each reason."""
    from pipeline.failures.command import Choice, list_failures

    start(list_failures(configured(quiet=True), Choice(stage=stage, reason=reason, guild=guild), as_json=as_json, out=out))


@failures_app.command("show")
def failures_show_command(
    letter: Annotated[str, typer.Argument(metavar="ID", help="As `mapseek failures list` names it.")], as_json: Json = False
) -> None:
    """Show all of a dead letter: headers, traceback, payload."""
    from pipeline.failures.command import show_failure

    start(show_failure(configured(quiet=True), letter, as_json=as_json, out=out))


@failures_app.command("retry")
def failures_retry_command(
    ids: Ids = None, stage: Stage = None, reason: Reason = None, guild: Guild = None, everything: All = False
) -> None:
    """Put dead letters back where they failed. They are never lost on the way."""
    from pipeline.failures.command import Choice, retry_failures

    start(retry_failures(configured(quiet=True), Choice(tuple(ids or ()), stage, reason, guild, everything), out))


@failures_app.command("discard")
def failures_discard_command(
    ids: Ids = None,
    stage: Stage = None,
    reason: Reason = None,
    guild: Guild = None,
    everything: All = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Throw dead letters away for good."""
    from pipeline.failures.command import Choice, discard_failures

    choice = Choice(tuple(ids or ()), stage, reason, guild, everything)
    start(discard_failures(configured(quiet=True), choice, yes=yes, out=out))
