"""The options of `mapseek audit`, and of `mapseek sync` and `mapseek sweep`, which close gaps that no other command closes."""

from typing import Annotated

import typer

from pipeline.cli.app import app, err, out, parse_guild_id, prepare_settings, run_and_exit


def _snowflake(value: str) -> str:
    if not value.isdigit():
        raise typer.BadParameter("give the id of the channel, which is a number")
    return value


@app.command("audit")
def audit_command(
    guild: Annotated[str | None, typer.Option(help="Audit only this guild.", callback=parse_guild_id)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    no_discord: Annotated[bool, typer.Option("--no-discord", help="Do not read Discord.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Skip the blobs and the indexes in memory, which take the longest.")
    ] = False,
) -> None:
    """Check that every image is where it should be.

    Compares Discord, the log, the blobs, the catalogue and the indexes. Prints each gap with the command that closes it. The exit
    code is 1 if there is a gap.
    """
    from pipeline.audit.command import show_audit

    work = show_audit(
        prepare_settings(quiet=True), guild=guild, use_discord=not no_discord, whole=not quick, json=as_json, out=out, err=err
    )
    run_and_exit(work)


@app.command("sync")
def sync_command(channel: Annotated[str, typer.Option(help="The id of the channel or thread.", callback=_snowflake)]) -> None:
    """Record what the bot missed in a channel: posts and deletions."""
    from pipeline.audit.command import sync_channel

    run_and_exit(sync_channel(prepare_settings(quiet=True), channel, out, err))


@app.command("sweep")
def sweep_command(dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False) -> None:
    """Delete the stored files that nothing needs any more.

    These are blobs that no image needs, and the pictures of old searches.
    """
    from pipeline.audit.command import sweep_blobs

    run_and_exit(sweep_blobs(prepare_settings(quiet=True), dry_run=dry_run, out=out))
