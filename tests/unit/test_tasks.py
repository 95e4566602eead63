"""Endless tasks end when they are cancelled, even if the cancellation arrives together with a response of NATS."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY, AsyncMock

import pytest

from contracts.envelope import Origin
from infra.discord.archive.marks import HighWaterMarks
from infra.discord.recorder import Recorder
from infra.tasks import cancel_tasks, raise_if_cancelled
from pipeline import container
from pipeline.generations import drop
from pipeline.projections import rebuild_catalogue
from pipeline.replay import command
from tests.support.facts import posted
from tests.support.fakes import MemoryJournal, MemoryState
from tests.support.waiting import AnsweredWhenCancelled, ends_when_cancelled

Working = Coroutine[Any, Any, Any]

WITHIN_S = 0.01


def saving_marks(losing: AnsweredWhenCancelled, patch: pytest.MonkeyPatch) -> Working:
    state = MemoryState()
    patch.setattr(state, "put", losing)
    marks = HighWaterMarks(state, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    marks.advance_history(("1", "2"), 3)
    return marks.run()


def recording(losing: AnsweredWhenCancelled, patch: pytest.MonkeyPatch) -> Working:
    journal = MemoryJournal()
    patch.setattr(journal, "record", losing)
    recorder = Recorder(journal, lambda: None)
    recorder.add(posted("1"), Origin("m"))
    return recorder.run()


def sweeping(losing: AnsweredWhenCancelled, patch: pytest.MonkeyPatch) -> Working:
    patch.setattr(container, "sweep_query_pictures", losing)
    return container.sweep_every_day(ANY, ANY)


def keeping_writers_paused(losing: AnsweredWhenCancelled, patch: pytest.MonkeyPatch) -> Working:
    patch.setattr(rebuild_catalogue, "PAUSE_RENEWAL_S", 0)
    patch.setattr(rebuild_catalogue, "_pause", losing)
    return rebuild_catalogue._keep_paused(ANY)


def showing_progress(losing: AnsweredWhenCancelled, patch: pytest.MonkeyPatch) -> Working:
    patch.setattr(command, "_update_bar", losing)
    return command._follow_build(ANY, ANY, ANY, ANY)


@pytest.mark.parametrize("work", [saving_marks, recording, sweeping, keeping_writers_paused, showing_progress])
async def test_a_cancellation_that_is_lost_is_noticed(
    work: Callable[[AnsweredWhenCancelled, pytest.MonkeyPatch], Working], monkeypatch: pytest.MonkeyPatch
) -> None:
    losing = AnsweredWhenCancelled()
    assert await ends_when_cancelled(asyncio.create_task(work(losing, monkeypatch)), losing)


def waiting_until_all_is_persisted(patch: pytest.MonkeyPatch) -> Working:
    patch.setattr(rebuild_catalogue, "_count_left", AnsweredWhenCancelled(1))
    return rebuild_catalogue._wait_until_settled(ANY, WITHIN_S)


def waiting_until_searches_are_matched(patch: pytest.MonkeyPatch) -> Working:
    patch.setattr(drop, "SEARCHES_TIMEOUT_S", WITHIN_S)
    patch.setattr(drop, "read_last_sequence", AsyncMock(return_value=2))
    patch.setattr(drop, "_find_first_unsettled", AnsweredWhenCancelled(1))
    return drop.wait_for_open_searches(ANY)


def waiting_until_a_generation_is_compared(patch: pytest.MonkeyPatch) -> Working:
    patch.setattr(drop, "RELEASE_TIMEOUT_S", WITHIN_S)
    patch.setattr(drop, "plan_generation_consumers", lambda *_: [ANY])
    patch.setattr(drop, "count_unsettled", AnsweredWhenCancelled(1))
    return drop._wait_for_alerts(ANY, ANY, ANY)


async def waiting_until_nobody_works_on_a_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(drop, "read_consumer", AnsweredWhenCancelled(SimpleNamespace(waiting=1)))
    with suppress(TimeoutError):
        async with asyncio.timeout(WITHIN_S):
            await drop._wait_until_unused(ANY, SimpleNamespace(stream="S", name="d"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wait",
    [
        waiting_until_all_is_persisted,
        waiting_until_searches_are_matched,
        waiting_until_a_generation_is_compared,
        waiting_until_nobody_works_on_a_durable,
    ],
)
async def test_a_timeout_that_is_lost_is_noticed(
    wait: Callable[[pytest.MonkeyPatch], Working], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.create_task(wait(monkeypatch))
    done, _ = await asyncio.wait({waiting}, timeout=5)
    assert done
    waiting.result()


async def test_a_task_that_is_not_cancelled_continues() -> None:
    raise_if_cancelled()


async def test_all_tasks_are_cancelled_and_awaited() -> None:
    closed: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            closed.append(name)
            if name == "faulty":
                raise ValueError

    tasks = [asyncio.create_task(work(name)) for name in ("calm", "faulty")]
    await asyncio.sleep(0)
    await cancel_tasks(*tasks)
    assert closed == ["calm", "faulty"]
