"""The commands, arguments and options of `mapseek failures`."""

from typing import Annotated

import typer

from pipeline.cli.app import app, complete_stage_names, out, prepare_settings, run_and_exit

failures_app = typer.Typer(
    help="List, show, retry or discard dead letters.\n\nA dead letter is a message that a stage gave up after its last attempt, "
    "or a message of Discord that the gateway could not read (stage `record`).",
    no_args_is_help=True,
)
app.add_typer(failures_app, name="failures")

IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids from `mapseek failures list`.")]


def _complete_stages(incomplete: str) -> list[str]:
    # Imported here: `--help` needs no subject.
    from contracts.subjects import RECORD

    return [*complete_stage_names(incomplete), *([RECORD] if RECORD.startswith(incomplete) else [])]


StageOption = Annotated[
    str | None, typer.Option(help="Only dead letters of this stage, or `record`.", autocompletion=_complete_stages)
]
ReasonOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Only dead letters with this text in their reason.")]
GuildOption = Annotated[str | None, typer.Option(help="Only dead letters about this guild.")]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@failures_app.command("list")
def failures_list_command(
    stage: StageOption = None, reason: ReasonOption = None, guild: GuildOption = None, as_json: JsonOption = False
) -> None:
    """List the dead letters that are still open, and count them by reason."""
    from pipeline.failures.command import Choice, list_failures

    run_and_exit(
        list_failures(prepare_settings(quiet=True), Choice(stage=stage, reason=reason, guild=guild), as_json=as_json, out=out)
    )


@failures_app.command("show")
def failures_show_command(
    letter: Annotated[str, typer.Argument(metavar="ID", help="An id from `mapseek failures list`.")], as_json: JsonOption = False
) -> None:
    """Show a dead letter with its headers, traceback and payload."""
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
    """Give dead letters back to the stage that gave them up, to try again."""
    from pipeline.failures.command import Choice, retry_failures

    run_and_exit(retry_failures(prepare_settings(quiet=True), Choice(tuple(ids or ()), stage, reason, guild, everything), out))


@failures_app.command("discard")
def failures_discard_command(
    ids: IdsArgument = None,
    stage: StageOption = None,
    reason: ReasonOption = None,
    guild: GuildOption = None,
    everything: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Discard dead letters: delete them without a retry."""
    from pipeline.failures.command import Choice, discard_failures

    choice = Choice(tuple(ids or ()), stage, reason, guild, everything)
    run_and_exit(discard_failures(prepare_settings(quiet=True), choice, yes=yes, out=out))
