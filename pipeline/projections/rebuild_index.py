"""Asking every process that holds an index to rebuild it, and hearing how each of them gets on.

The snapshot of an index that no process has open, made anew from the log or compared with it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from contracts.errors import MapSeekError
from contracts.subjects import REBUILD_INDEX
from infra.nats.connection import Client, translate_outages
from infra.vectors.snapshot import lock_snapshots
from pipeline.projections.index import IndexComparison, IndexKind, apply_log, compare_indexes, find_last_change
from pipeline.projections.snapshots import RebuildReport, RebuildRequest
from pipeline.projections.vectors import VECTOR_INDEX_KIND

FIRST_REPORT_TIMEOUT_S = 10.0
"""The server says at once when nobody listens; else somebody answers by then."""

DISCOVERY_TIMEOUT_S = 2.0
"""Once one has answered, who has not said a word by then does not hold the index."""

SILENCE_TIMEOUT_S = 20.0
"""A process at work that says nothing for so long has ended."""


async def ask_processes(
    client: Client, *, verify: bool, on_report: Callable[[RebuildReport], None], silent_for: float = SILENCE_TIMEOUT_S
) -> list[RebuildReport]:
    """The last report of every process on each index that it holds, none where nobody does. `heard` is called with each report.

    Raises Unavailable.
    """
    with translate_outages():
        return await _ask_processes(client, verify=verify, on_report=on_report, silent_for=silent_for)


async def _ask_processes(
    client: Client, *, verify: bool, on_report: Callable[[RebuildReport], None], silent_for: float
) -> list[RebuildReport]:
    inbox = client.new_inbox()
    reports: dict[str, RebuildReport] = {}
    last_heard: dict[str, float] = {}
    subscription = await client.subscribe(inbox)
    try:
        await client.publish(REBUILD_INDEX, RebuildRequest(verify=verify).model_dump_json().encode(), reply=inbox)
        begun = monotonic()
        while monotonic() - begun < (DISCOVERY_TIMEOUT_S if reports else FIRST_REPORT_TIMEOUT_S) or any(
            report.state == "working" for report in reports.values()
        ):
            try:
                message = await subscription.next_msg(timeout=0.25)
            except TimeoutError:
                message = None
            if message is not None and not message.data:
                return []  # the server says that nobody listens
            if message is not None:
                report = RebuildReport.model_validate_json(message.data)
                reports[report.process], last_heard[report.process] = report, monotonic()
                on_report(report)
            for process, report in reports.items():
                if report.state == "working" and monotonic() - last_heard[process] > silent_for:
                    ended = {"state": "failed", "reason": "it ended in the middle of it, or is not reached any more"}
                    reports[process] = report.model_copy(update=ended)
    finally:
        await subscription.unsubscribe()
    return [reports[process] for process in sorted(reports)]


async def rebuild_snapshot(
    client: Client, folder: Path, kind: IndexKind[Any] = VECTOR_INDEX_KIND, *, verify: bool, progress: Callable[[int, int], None]
) -> IndexComparison | None:
    """Make the snapshot in a folder anew from the log, or only compare it. None when there is none: there is nothing to compare.

    Raises MapSeekError when a process has the index open after all, Unavailable when the log cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock_snapshots(folder) as writes:
        if not writes:
            raise MapSeekError(f"A process has the {kind.name} open but does not answer: wait until it has started, or end it.")
        saved = await asyncio.to_thread(kind.load, folder)
        if saved is None and verify:
            return None
        until = saved.position if saved else await find_last_change(client, kind)
        beside = kind.empty(folder)
        await apply_log(client, kind, beside, until, lambda sequence: progress(sequence, until))
        if not verify:
            await asyncio.to_thread(kind.save, beside, folder)
        return await asyncio.to_thread(compare_indexes, kind, saved or kind.empty(folder), beside)
