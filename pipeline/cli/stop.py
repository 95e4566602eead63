"""SIGTERM ends every command: it cancels the command's task, and ends the process by force if that takes too long.

The loop's own signal handlers run in the loop, and Python's run between two steps of the main thread. Neither runs while the main
thread is inside a long call. So a thread of its own waits for the signal, which the interpreter writes to a socket at once.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger()

FORCE_AFTER_S = 15.0
"""How long a command may take to close everything after SIGTERM."""

TERMINATED_CODE = 128 + signal.SIGTERM


@contextmanager
def stop_at_sigterm(cancel: Callable[[], object]) -> Iterator[None]:
    """Within the `with`, SIGTERM calls `cancel` in a thread. FORCE_AFTER_S seconds later, the process is ended by force.

    Call it in the main thread. Nothing that is recorded is lost by force: what was in work is done again.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    earlier = signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_wait_for_sigterm, args=(reader, cancel), name="sigterm", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, earlier)
        writer.close()


def _wait_for_sigterm(reader: socket.socket, cancel: Callable[[], object]) -> None:
    with reader:
        while signals := reader.recv(16):
            if signal.SIGTERM in signals:
                cancel()
                timer = threading.Timer(FORCE_AFTER_S, _end_by_force)
                timer.daemon = True
                timer.start()
                return


def _end_by_force() -> None:
    log.error("exit_forced", after_s=FORCE_AFTER_S)
    sys.stderr.flush()
    os._exit(TERMINATED_CODE)
