"""Asking every process that holds an index to rebuild it, and collecting their reports.

If no process has an index open, its snapshot is rebuilt from the log, or compared with it.
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
"""Within this time, the first process reports. If no process listens, the server says so at once."""

DISCOVERY_TIMEOUT_S = 2.0
"""A process that has not reported after this time does not hold the index, if another process has reported."""

SILENCE_TIMEOUT_S = 20.0
"""A process that rebuilds and does not report for this time is regarded as dead."""


async def ask_processes(
    client: Client, *, verify: bool, on_report: Callable[[RebuildReport], None], silent_for: float = SILENCE_TIMEOUT_S
) -> list[RebuildReport]:
    """Ask all processes to rebuild their indexes, and return the last report on each index, an empty list if no process holds one.

    `on_report` is called with each report. Raises Unavailable.
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
                return []  # an empty message: the server says that no process listens
            if message is not None:
                report = RebuildReport.model_validate_json(message.data)
                reports[report.process], last_heard[report.process] = report, monotonic()
                on_report(report)
            for process, report in reports.items():
                if report.state == "working" and monotonic() - last_heard[process] > silent_for:
                    ended = {"state": "failed", "reason": "the process ended during the rebuild, or cannot be reached any more"}
                    reports[process] = report.model_copy(update=ended)
    finally:
        await subscription.unsubscribe()
    return [reports[process] for process in sorted(reports)]


async def rebuild_snapshot(
    client: Client, folder: Path, kind: IndexKind[Any] = VECTOR_INDEX_KIND, *, verify: bool, progress: Callable[[int, int], None]
) -> IndexComparison | None:
    """Rebuild the snapshot in a folder from the log, or only compare it. Return None if there is no snapshot to compare.

    Raises MapSeekError if a process has the index open after all, Unavailable if the log cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock_snapshots(folder) as writes:
        if not writes:
            raise MapSeekError(f"A process has the {kind.name} open but does not answer: wait until it has started, or stop it.")
        saved = await asyncio.to_thread(kind.load, folder)
        if saved is None and verify:
            return None
        until = saved.position if saved else await find_last_change(client, kind)
        beside = kind.empty(folder)
        await apply_log(client, kind, beside, until, lambda sequence: progress(sequence, until))
        if not verify:
            await asyncio.to_thread(kind.save, beside, folder)
        return await asyncio.to_thread(compare_indexes, kind, saved or kind.empty(folder), beside)
