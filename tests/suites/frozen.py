"""A process that is there and answers nothing, for as long as a test wants it so."""

import os
import signal
import time
from pathlib import Path


def freeze(pid: int) -> None:
    """Stop a process, and return once every thread of it stands still: a signal takes a moment to reach a busy one."""
    os.kill(pid, signal.SIGSTOP)
    while not all(_stands_still(task) for task in Path(f"/proc/{pid}/task").iterdir()):
        time.sleep(0.001)


def thaw(pid: int) -> None:
    """Let it go on."""
    os.kill(pid, signal.SIGCONT)


def _stands_still(task: Path) -> bool:
    state = (task / "stat").read_text().rpartition(")")[2].split()[0]
    return state in "TtZX"
