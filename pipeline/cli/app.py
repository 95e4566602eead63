"""What all commands share: the application, the consoles, the settings, and how a command is run and ended."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import Progress, TaskID
from typer.core import TyperCommand, TyperGroup

from contracts.errors import MapSeekError, Unavailable
from contracts.events.base import Id
from pipeline.logging import configure_logging
from pipeline.settings import Settings, load_settings

PANELS = {
    "Run it": ("up", "gateway", "run", "status", "demo", "invite"),
    "Search": ("find", "archive"),
    "Look after the archive": ("audit", "sync", "sweep", "export", "import", "rebuild", "trace", "failures", "topology"),
    "Models": ("replay", "generations", "compare", "activate", "rollback", "drop"),
    "Develop": ("schema",),
}
"""Every command, in the order in which the help shows them."""

out = Console()
err = Console(stderr=True)

ReportProgress = Callable[[str, int, int | None], None]
"""Told what is done, how many of it are, and of how many, where that is known."""


class PanelGroup(TyperGroup):
    """The commands in their panels."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        panels = {name: panel for panel, names in PANELS.items() for name in names}
        self.commands = {name: self.commands[name] for name in dict.fromkeys((*panels, *self.commands)) if name in self.commands}
        for name, command in self.commands.items():
            if isinstance(command, TyperCommand | TyperGroup):
                command.rich_help_panel = panels.get(name)


app = typer.Typer(
    name="mapseek",
    cls=PanelGroup,
    help="Find who made a piece of map art, and where it was first posted.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)


def parse_guild_id(value: str | None) -> str | None:
    """The id of a guild as an option takes it, None where it is left out. Raises BadParameter."""
    try:
        return TypeAdapter(Id | None).validate_python(value)
    except ValidationError:
        raise typer.BadParameter("a guild is named by 1 to 64 letters, digits, hyphens or underscores") from None


def _version(wanted: bool) -> None:
    if wanted:
        # Deferred: of all commands this one alone needs it.
        from importlib.metadata import version

        out.print(f"mapseek {version('mapseek')}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def complete_stage_names(incomplete: str) -> list[str]:
    """The stages that a shell may complete a word to."""
    # Deferred: it is a shell that waits, but `--help` needs no stage.
    from pipeline.engine.registry import STAGES

    return [stage.name for stage in STAGES if stage.name.startswith(incomplete)]


LocalGuildOption = Annotated[str, typer.Option(help="The guild to archive to or search in.", callback=parse_guild_id)]


def run_app() -> None:
    """Run a command; what a person can act on is one sentence on standard error, without a traceback."""
    try:
        app()
    except MapSeekError as error:
        sentence = str(error)
    except Unavailable as outage:
        sentence = f"The {outage}: see to it, then run the command again."
    else:
        return
    err.print(f"mapseek: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)


def run_and_exit(work: Coroutine[Any, Any, int | None]) -> None:
    """Run a command's work to its end, and end with the exit code that it returns."""
    # Deferred: `--help` needs no client.
    from infra.nats.connection import LOG_ERRORS

    async def started() -> int | None:
        # SIGTERM unwinds like Ctrl-C does, so that nothing that was started is left behind.
        if task := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            return await work
        except LOG_ERRORS as error:
            raise Unavailable("log", str(error) or type(error).__name__) from error

    try:
        raise typer.Exit(asyncio.run(started()) or 0)
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None


def prepare_settings(*, quiet: bool = False) -> Settings:
    """The settings, with logging as they say; `quiet` commands print what they find, and log warnings only and for people."""
    settings = load_settings()
    style = "console" if quiet and settings.log_format == "auto" else settings.log_format
    configure_logging(style, "warning" if quiet and settings.log_level == "info" else settings.log_level)
    return settings


def build_progress_reporter(bars: Progress) -> ReportProgress:
    """Shows what it is told on a bar of its own, which appears when it is first told of."""
    tasks: dict[str, TaskID] = {}

    def told(what: str, done: int, total: int | None) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    return told
