"""Measure the cost of work: wall time, the CPU time of this process and its picture workers, and that of nats-server."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall seconds, CPU seconds of this process and its picture workers, and CPU seconds of nats-server."""

    wall: float
    ours: float
    servers: float

    @classmethod
    def mean(cls, *costs: "Cost") -> Self:
        """Return the average of some costs."""
        each = [(cost.wall, cost.ours, cost.servers) for cost in costs]
        return cls(*(sum(values) / len(costs) for values in zip(*each, strict=True)))


def read_cpu_s() -> float:
    """Return the CPU seconds of this process and of all processes that it started and that still run."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(each.cpu_times().user + each.cpu_times().system for each in family)


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
        servers = server.user + server.system
        return time.perf_counter(), read_cpu_s() - servers, servers
