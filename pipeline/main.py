"""The command line `mapseek`, which collects the commands of every capability.

A `cli.py` only declares arguments and help. The work of a command is in the `command.py` beside it, which is imported when the
command runs, so that help and completion are quick.
"""

# ruff: noqa: F401  (each module adds its commands to the application)

import pipeline.audit.cli
import pipeline.backup.cli
import pipeline.compare.cli
import pipeline.demo.cli
import pipeline.failures.cli
import pipeline.generations.cli
import pipeline.local.cli
import pipeline.projections.cli
import pipeline.replay.cli
import pipeline.serve.cli
import pipeline.trace.cli
from pipeline.cli.app import app, run_app

__all__ = ["app", "main"]

main = run_app
