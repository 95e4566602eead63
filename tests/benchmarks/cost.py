"""What some work costs: the clock, the CPU time of this process, and that of nats-server."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds by the clock, CPU seconds of this process with all its threads, CPU seconds of nats-server."""

    wall: float
    ours: float
    servers: float

    @classmethod
    def mean(cls, *costs: "Cost") -> Self:
        """The average of some costs."""
        each = [(cost.wall, cost.ours, cost.servers) for cost in costs]
        return cls(*(sum(values) / len(costs) for values in zip(*each, strict=True)))


class Meter:
    """Runs from its making on. `folder` is the one of the embedded nats-server."""

    def __init__(self, folder: Path) -> None:
        self._server = psutil.Process(int((folder / "server.pid").read_text()))
        self._began = self._now()

    def read(self) -> Cost:
        """The cost so far."""
        return Cost(*(now - began for now, began in zip(self._now(), self._began, strict=True)))

    def _now(self) -> tuple[float, float, float]:
        server = self._server.cpu_times()
        return time.perf_counter(), time.process_time(), server.user + server.system
