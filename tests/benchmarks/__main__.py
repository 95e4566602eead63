"""`python -m tests.benchmarks`: run all benchmarks, or those named. Absolute figures depend on the machine, ratios hardly."""

import argparse
import os
import platform
import time
from collections.abc import Callable, Mapping

from rich.console import Console

from pipeline.logging import configure_logging
from tests.benchmarks import (
    bench_features,
    bench_vectors,
    bombs,
    memory,
    picture_workers,
    pipeline_clip,
    pipeline_noop,
    replay,
    search_latency,
)

BENCHMARKS: Mapping[str, Callable[[bool], None]] = {
    "vectors": bench_vectors.main,
    "features": bench_features.main,
    "picture_workers": picture_workers.main,
    "pipeline_noop": pipeline_noop.main,
    "pipeline_clip": pipeline_clip.main,
    "replay": replay.main,
    "search_latency": search_latency.main,
    "memory": memory.main,
    "bombs": bombs.main,
}


def main() -> None:
    """Run the benchmarks one after the other, so that they do not disturb each other."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run of a minute: small models, few images, figures without meaning"
    )
    parser.add_argument(
        "--only", action="append", choices=BENCHMARKS, metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; may be repeated"
    )
    options = parser.parse_args()
    configure_logging("auto", "error")
    console = Console()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    console.print(f"{platform.machine()}, {cores} cores, load {load:.1f}, Python {platform.python_version()}")
    for name in options.only or BENCHMARKS:
        started = time.perf_counter()
        BENCHMARKS[name](options.quick)
        console.print(f"{name}: {time.perf_counter() - started:.0f} s\n")


if __name__ == "__main__":
    main()
