"""The command line: `mapseek up`, `run`, `gateway`, `archive`, `find`, `status`, `invite`, `topology`, `schema`, `demo`."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from contracts.errors import MapSeekError
from contracts.events.base import Id
from pipeline.logs import configure_logging
from pipeline.settings import Settings, load_settings

app = typer.Typer(
    name="mapseek",
    help="Find who made a piece of map art, and where it was first posted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
topology_app = typer.Typer(help="The streams and consumers on the NATS server.", no_args_is_help=True)
app.add_typer(topology_app, name="topology")

out = Console()
err = Console(stderr=True)


def _guild(value: str) -> str:
    try:
        return TypeAdapter(Id).validate_python(value)
    except ValidationError:
        raise typer.BadParameter("a guild is named by 1 to 64 letters, digits, hyphens or underscores") from None


Guild = Annotated[str, typer.Option(help="The guild to archive to or search in.", callback=_guild)]


def main() -> None:
    """Run a command; what a person can act on is one sentence on standard error, without a traceback."""
    try:
        app()
    except MapSeekError as error:
        err.print(f"mapseek: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


def _start(work: Coroutine[Any, Any, int | None]) -> None:
    async def started() -> int | None:
        # SIGTERM unwinds like Ctrl-C does, so that nothing that was started is left behind.
        if task := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        raise typer.Exit(asyncio.run(started()) or 0)
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None


def _settings(*, quiet: bool = False) -> Settings:
    settings = load_settings()
    configure_logging(settings.log_format, "warning" if quiet and settings.log_level == "info" else settings.log_level)
    return settings


@app.command()
def up() -> None:
    """Run everything: the gateway, every stage, and the log server unless NATS_URL names one."""
    from pipeline.commands.serve import serve_all

    _start(serve_all(_settings()))


@app.command()
def run(stages: Annotated[list[str], typer.Argument(help="download, preprocess, embed, persist, match, reply")]) -> None:
    """Run the named stages alone, on the log in NATS_URL or of a running `mapseek up`."""
    from pipeline.commands.serve import serve_stages

    _start(serve_stages(_settings(), stages))


@app.command()
def gateway() -> None:
    """Run the Discord gateway alone, on the log in NATS_URL or of a running `mapseek up`."""
    from pipeline.commands.serve import serve_gateway

    _start(serve_gateway(_settings()))


@app.command()
def archive(paths: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")], guild: Guild = "local") -> None:
    """Record local images as posts and wait until they can be found."""
    from pipeline.commands.local import archive_paths

    _start(archive_paths(_settings(quiet=True), paths, guild, err))


@app.command()
def find(
    images: Annotated[list[Path], typer.Argument(help="The images to look for.")],
    top: Annotated[int, typer.Option(min=1, max=100, help="The most matches to show for each.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    guild: Guild = "local",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for an answer.")] = 60,
) -> None:
    """Ask where images were first posted."""
    from pipeline.commands.local import find_paths

    _start(find_paths(_settings(quiet=True), images, guild, top=top, timeout=timeout, as_json=as_json, out=out, err=err))


@app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Show every stage in both lanes: pending, in flight, redelivered, dead letters, rate, last activity."""
    from pipeline.commands.inspect import show_status

    _start(show_status(_settings(quiet=True), watch=watch, as_json=as_json, out=out))


@app.command()
def invite(
    guild: Annotated[int | None, typer.Option(min=1, help="The id of the server to choose beforehand.")] = None,
) -> None:
    """Print the link that adds the bot to a server with the least permissions, and what each is for. Needs DISCORD_TOKEN only."""
    from pipeline.commands.invite import show_invite

    show_invite(_settings(quiet=True), guild, out)


@topology_app.command("diff")
def topology_diff() -> None:
    """Show how the server differs from what this version needs; exit code 1 if it does."""
    from pipeline.commands.inspect import topology_differences

    _start(topology_differences(_settings(quiet=True), out))


@topology_app.command("apply")
def topology_apply() -> None:
    """Change the server to what this version needs. No log entry is lost."""
    from pipeline.commands.inspect import apply_topology

    _start(apply_topology(_settings(quiet=True), out))


@app.command()
def schema(
    check: Annotated[bool, typer.Option("--check", help="Only tell what is out of date.")] = False,
) -> None:
    """Write the JSON Schemas and the AsyncAPI document from the contracts (in a source checkout)."""
    from pipeline.schemas import check_files, write_files

    stale = check_files() if check else write_files()
    for path in stale:
        out.print(f"{'out of date' if check else 'written'}: {path}")
    raise typer.Exit(1 if check and stale else 0)


@app.command()
def demo(report: Annotated[Path, typer.Option(help="Where the HTML report is written.")] = Path("demo-report")) -> None:
    """Post 60 pieces of map art to a simulated Discord, ask 20 questions, and show the answers."""
    from pipeline.commands.demo import run_demo

    configure_logging("auto", "warning")
    _start(run_demo(report, out))
