"""Progress as bars on a terminal: one for each thing that is told of."""

from collections.abc import Callable

from rich.progress import Progress, TaskID

Told = Callable[[str, int, int | None], None]
"""Told what is done, how many of it are, and of how many, where that is known."""


def told_on(bars: Progress) -> Told:
    """Shows what it is told on a bar of its own, which appears when it is first told of."""
    tasks: dict[str, TaskID] = {}

    def told(what: str, done: int, total: int | None) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    return told
