"""What `mapseek` tells of itself: its version, its help and what a shell completes, all without what the commands work with."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli import app


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
