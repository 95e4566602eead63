"""Which of the processes that share a folder of snapshots writes them."""

import fcntl
from typing import IO

LOCK = "snapshot.lock"
"""The file in the folder that the one who writes holds a lock on."""


def takes(lock: IO[str]) -> bool:
    """Whether this process is the one that writes snapshots, until it closes the lock's file."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
