"""Measure the cost of work: wall time, the CPU time of this process, and that of nats-server."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall seconds, CPU seconds of this process with all its threads, and CPU seconds of nats-server."""

    wall: float
    ours: float
    servers: float

    @classmethod
    def mean(cls, *costs: "Cost") -> Self:
        """Return the average of some costs."""
        each = [(cost.wall, cost.ours, cost.servers) for cost in costs]
        return cls(*(sum(values) / len(costs) for values in zip(*each, strict=True)))


class Meter:
    """Measures from its creation on. `folder` is that of the embedded nats-server."""

    def __init__(self, folder: Path) -> None:
        self._server = psutil.Process(int((folder / "server.pid").read_text()))
        self._start = self._now()

    def read(self) -> Cost:
        """Return the cost so far."""
        return Cost(*(now - start for now, start in zip(self._now(), self._start, strict=True)))

    def _now(self) -> tuple[float, float, float]:
        server = self._server.cpu_times()
        return time.perf_counter(), time.process_time(), server.user + server.system
