"""The version, the help and the shell completion of `mapseek`, which load no heavy modules."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.app import PANELS
from pipeline.engine.registry import STAGES
from pipeline.main import app

HEAVY = {"aiohttp", "cv2", "disnake", "faststream", "nats", "torch", "usearch"}

WATCHED = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
sys.argv[0] = "mapseek"
from pipeline.main import main
main()
"""


def list_command_paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command and of every group."""
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from list_command_paths(below, (*path, name))


COMMANDS = list(list_command_paths(typer.main.get_command(app)))


def run_in_process(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, prog_name="mapseek", env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.output


def test_version_is_printed() -> None:
    assert run_in_process("--version") == f"mapseek {version('mapseek')}\n"


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(("mapseek", *path)))
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    page = run_in_process(*path, "-h")
    assert page == run_in_process(*path, "--help")
    assert f"Usage: {' '.join(('mapseek', *path))} " in page


def test_every_command_is_in_one_panel_and_the_panels_are_in_order() -> None:
    listed = [name for names in PANELS.values() for name in names]
    assert sorted(listed) == sorted(path[0] for path in COMMANDS if len(path) == 1)
    page = run_in_process("--help")
    assert re.findall(r"╭─ (.+?) ─", page) == ["Options", *PANELS]
    assert re.findall(r"^│ ([a-z]+) ", page, re.MULTILINE) == listed


def test_the_help_of_a_command_begins_with_one_short_sentence() -> None:
    group = typer.main.get_command(app)
    for name, command in vars(group)["commands"].items():
        sentence = command.help.partition("\n\n")[0]
        assert re.fullmatch(r"[A-Z][^.\n]{10,60}\.", sentence), name


def run_alone(*arguments: str, **environment: str) -> tuple[str, set[str]]:
    """Run `mapseek` in a process of its own. Return its output, and the modules that it has imported at the end."""
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=True,
    )
    return ended.stdout, set(ended.stderr.split())


def complete(*words: str) -> list[str]:
    """Return what a shell offers for the last word. Check that the process imports no driver and touches no data."""
    run_in_process, imported = run_alone(
        _MAPSEEK_COMPLETE="complete_bash", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1)
    )
    assert imported & HEAVY == set()
    assert not Path(os.environ["MAPSEEK_DATA_DIR"]).exists()
    return run_in_process.split()


def test_a_shell_completes_commands_options_and_stages() -> None:
    assert set(complete("mapseek", "re")) == {"rebuild", "replay"}
    assert set(complete("mapseek", "failures", "")) == {"list", "show", "retry", "discard"}
    assert set(complete("mapseek", "find", "--t")) == {"--top", "--timeout"}
    assert complete("mapseek", "run", "download", "") == [stage.name for stage in STAGES]
    assert complete("mapseek", "run", "pre") == complete("mapseek", "replay", "--stage", "pre") == ["preprocess"]
    assert complete("mapseek", "failures", "list", "--stage", "em") == ["embed"]


def test_the_completion_script_can_be_shown_and_installed() -> None:
    script, _ = run_alone(_MAPSEEK_COMPLETE="source_bash")
    assert "_MAPSEEK_COMPLETE=complete_bash" in script
    assert {"--show-completion", "--install-completion"} <= set(run_in_process("--help").split())


def test_help_imports_no_heavy_modules() -> None:
    page, imported = run_alone("--help")
    assert "Find who made a piece of map art" in page
    assert imported & (HEAVY | {"numpy", "PIL"}) == set()
