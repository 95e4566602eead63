"""What `mapseek` tells of itself: its version, its help and what a shell completes, all without what the commands work with."""

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


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The way to every command and every group of them."""
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


COMMANDS = list(commands(typer.main.get_command(app)))


def told(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, prog_name="mapseek", env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.output


def test_it_tells_its_version() -> None:
    assert told("--version") == f"mapseek {version('mapseek')}\n"


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(("mapseek", *path)))
def test_every_command_tells_its_help(path: tuple[str, ...]) -> None:
    page = told(*path, "-h")
    assert page == told(*path, "--help")
    assert f"Usage: {' '.join(('mapseek', *path))} " in page


def test_every_command_is_in_one_panel_and_the_panels_are_in_order() -> None:
    listed = [name for names in PANELS.values() for name in names]
    assert sorted(listed) == sorted(path[0] for path in COMMANDS if len(path) == 1)
    page = told("--help")
    assert re.findall(r"╭─ (.+?) ─", page) == ["Options", *PANELS]
    assert re.findall(r"^│ ([a-z]+) ", page, re.MULTILINE) == listed


def test_a_command_is_said_in_one_short_sentence() -> None:
    group = typer.main.get_command(app)
    for name, command in vars(group)["commands"].items():
        sentence = command.help.partition("\n\n")[0]
        assert re.fullmatch(r"[A-Z][^.\n]{10,60}\.", sentence), name


def alone(*arguments: str, **environment: str) -> tuple[str, set[str]]:
    """What a process of its own prints, and the modules that it has imported in the end."""
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=True,
    )
    return ended.stdout, set(ended.stderr.split())


def completed(*words: str) -> list[str]:
    """What a shell offers for the last word, by a process that imports no driver and touches no data."""
    told, imported = alone(_MAPSEEK_COMPLETE="complete_bash", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1))
    assert imported & HEAVY == set()
    assert not Path(os.environ["MAPSEEK_DATA_DIR"]).exists()
    return told.split()


def test_a_shell_completes_commands_options_and_stages() -> None:
    assert set(completed("mapseek", "re")) == {"rebuild", "replay"}
    assert set(completed("mapseek", "failures", "")) == {"list", "show", "retry", "discard"}
    assert set(completed("mapseek", "find", "--t")) == {"--top", "--timeout"}
    assert completed("mapseek", "run", "download", "") == [stage.name for stage in STAGES]
    assert completed("mapseek", "run", "pre") == completed("mapseek", "replay", "--stage", "pre") == ["preprocess"]
    assert completed("mapseek", "failures", "list", "--stage", "em") == ["embed"]


def test_the_script_for_a_shell_is_shown_and_installed() -> None:
    script, _ = alone(_MAPSEEK_COMPLETE="source_bash")
    assert "_MAPSEEK_COMPLETE=complete_bash" in script
    assert {"--show-completion", "--install-completion"} <= set(told("--help").split())


def test_the_help_imports_nothing_that_it_does_not_show() -> None:
    page, imported = alone("--help")
    assert "Find who made a piece of map art" in page
    assert imported & (HEAVY | {"numpy", "PIL"}) == set()
