"""What all commands share: the application, the consoles, the settings, and running a command to its exit code."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape as escape_markup
from rich.progress import Progress, TaskID
from rich.segment import Segment
from typer.core import TyperCommand, TyperGroup

from contracts.errors import MapSeekError, Unavailable
from contracts.events.base import Id
from contracts.text import escape_controls, escape_json, escape_lines
from pipeline.cli.stop import TERMINATED_CODE, stop_at_sigterm
from pipeline.logging import configure_logging
from pipeline.settings import Settings, load_settings

PANELS = {
    "Run it": ("up", "gateway", "run", "status", "demo", "invite"),
    "Search": ("find", "archive"),
    "Look after the archive": ("audit", "sync", "sweep", "export", "import", "rebuild", "trace", "failures", "topology"),
    "Models": ("replay", "generations", "compare", "activate", "rollback", "drop"),
    "Develop": ("schema",),
}
"""Every command by panel, in the order in which the help shows them."""


class EscapingConsole(Console):
    """A console that no text drives: whatever is printed, controls in it are shown escaped. Only line breaks stay.

    Who prints a name from outside escapes it before, so that a line break in it is no line break on the screen.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escape_lines(segment.text), segment.style)


out = EscapingConsole(emoji=False)
err = EscapingConsole(stderr=True, emoji=False)

ReportProgress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and the total, None if it is not known."""


class PanelGroup(TyperGroup):
    """A command group that shows its commands in panels."""

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
    help="Find who made a piece of map art and where it was first posted.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)


def parse_guild_id(value: str | None) -> str | None:
    """Check the guild id of an option and return it, None if the option is not given. Raises BadParameter."""
    try:
        return TypeAdapter(Id | None).validate_python(value)
    except ValidationError:
        raise typer.BadParameter("a guild id has 1 to 64 letters, digits, hyphens or underscores") from None


def _version(wanted: bool) -> None:
    if wanted:
        # Imported here: only this option needs it.
        from importlib.metadata import version

        out.print(f"mapseek {version('mapseek')}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options before a command."""


def complete_stage_names(incomplete: str) -> list[str]:
    """Return the names of stages that begin with a word, for shell completion."""
    # Imported here: `--help` needs no stage.
    from pipeline.engine.registry import STAGES

    return [stage.name for stage in STAGES if stage.name.startswith(incomplete)]


LocalGuildOption = Annotated[str, typer.Option(help="The guild to archive to or search in.", callback=parse_guild_id)]


def run_app() -> None:
    """Run a command. Print an error that a person can act on as one sentence on standard error, without a traceback.

    What a terminal's encoding cannot hold is printed escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except MapSeekError as error:
        sentence = str(error)
    except Unavailable as outage:
        sentence = f"The {outage}: bring it back, then run the command again."
    else:
        return
    err.print(f"mapseek: {escape_controls(sentence)}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)


def run_and_exit(work: Coroutine[Any, Any, int | None]) -> None:
    """Run a command's work to its end, and exit with the code that it returns."""
    # Imported here: `--help` needs no NATS client.
    from infra.nats.connection import LOG_ERRORS

    async def run() -> int | None:
        # SIGTERM cancels the task as Ctrl-C does, so that everything that was started is closed.
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        with stop_at_sigterm(lambda: task and loop.call_soon_threadsafe(task.cancel)):
            try:
                return await work
            except LOG_ERRORS as error:
                raise Unavailable("log", str(error) or type(error).__name__) from error

    try:
        raise typer.Exit(asyncio.run(run()) or 0)
    except asyncio.CancelledError:
        raise typer.Exit(TERMINATED_CODE) from None


def prepare_settings(*, quiet: bool = False) -> Settings:
    """Load the settings and configure logging.

    A `quiet` command prints its result, and logs only warnings, in the console format.
    """
    settings = load_settings()
    style = "console" if quiet and settings.log_format == "auto" else settings.log_format
    configure_logging(style, "warning" if quiet and settings.log_level == "info" else settings.log_level)
    return settings


def print_json(document: str, out: Console) -> None:
    """Print a JSON document in plain ASCII, on one line if it has one."""
    out.out(escape_json(document), highlight=False)


def build_progress_reporter(bars: Progress) -> ReportProgress:
    """Return a function that shows progress. Each `what` gets a bar of its own, at its first report."""
    tasks: dict[str, TaskID] = {}

    def report(what: str, done: int, total: int | None) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(escape_markup(escape_controls(what)), total=total)
        bars.update(tasks[what], completed=done, total=total)

    return report
