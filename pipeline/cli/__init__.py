"""The command line. Its modules only parse; what each command does is in `pipeline/commands/`."""

from pipeline.cli import auditing, backup, comparing, generations, history, inspecting, local, rebuilding, replaying, serving
from pipeline.cli.app import app
from pipeline.cli.app import run_app as main

__all__ = [
    "app",
    "auditing",
    "backup",
    "comparing",
    "generations",
    "history",
    "inspecting",
    "local",
    "main",
    "rebuilding",
    "replaying",
    "serving",
]
