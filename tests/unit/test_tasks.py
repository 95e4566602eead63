"""What works for ever ends when it is told to, even when the word comes together with an answer of the log."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any
from unittest.mock import ANY

import pytest

from contracts.envelope import Origin
from infra.discord.archiving.marks import Marks
from infra.discord.recorder import Recorder
from infra.tasks import cancel, end_if_cancelled
from pipeline import questions
from pipeline.commands import replay
from pipeline.rebuild import standstill
from tests.suites.cancelling import Losing, ends
from tests.suites.facts import posted
from tests.suites.fakes import MemoryJournal, MemoryState

Working = Coroutine[Any, Any, None]


def saving_marks(losing: Losing, patch: pytest.MonkeyPatch) -> Working:
    state = MemoryState()
    patch.setattr(state, "put", losing)
    marks = Marks(state, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    marks.read(("1", "2"), 3)
    return marks.run()


def recording(losing: Losing, patch: pytest.MonkeyPatch) -> Working:
    journal = MemoryJournal()
    patch.setattr(journal, "record", losing)
    recorder = Recorder(journal, lambda: None)
    recorder.add(posted("1"), Origin("m"))
    return recorder.run()


def sweeping(losing: Losing, patch: pytest.MonkeyPatch) -> Working:
    patch.setattr(questions, "sweep", losing)
    return questions.keep_sweeping(ANY, ANY)


def keeping_writers_paused(losing: Losing, patch: pytest.MonkeyPatch) -> Working:
    patch.setattr(standstill, "RENEWED_EVERY_S", 0)
    patch.setattr(standstill, "_pause", losing)
    return standstill._keep_paused(ANY)


def showing_progress(losing: Losing, patch: pytest.MonkeyPatch) -> Working:
    patch.setattr(replay, "_show", losing)
    return replay._look(ANY, ANY, ANY, ANY)


@pytest.mark.parametrize("work", [saving_marks, recording, sweeping, keeping_writers_paused, showing_progress])
async def test_a_cancellation_that_is_lost_is_noticed(
    work: Callable[[Losing, pytest.MonkeyPatch], Working], monkeypatch: pytest.MonkeyPatch
) -> None:
    losing = Losing()
    assert await ends(asyncio.create_task(work(losing, monkeypatch)), losing)


async def test_who_is_not_cancelled_goes_on() -> None:
    end_if_cancelled()


async def test_all_are_cancelled_and_awaited_however_they_end() -> None:
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
    await cancel(*tasks)
    assert closed == ["calm", "faulty"]
