"""`mapseek replay`: its progress bar, its estimate and its summary."""

from datetime import timedelta
from math import ceil

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from contracts.ports import Encoder
from pipeline.generations.encoders import said
from pipeline.replay.estimating import Estimate


class Rate(ProgressColumn):
    """Pictures or entries a second, of late."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.1f}/s", style="progress.data.speed")


def bar(console: Console) -> Progress:
    """What is done, how fast, and how long it will take; rates are those of the last minute."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    return Progress(*columns, console=console, speed_estimate_period=60)


def estimate_page(encoder: Encoder, name: str, estimate: Estimate) -> RenderableType:
    """What building a generation will take."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("what it would take")
    table.add_column("", justify="right")
    table.add_row("pictures to embed and fingerprint", f"{estimate.pictures:,}")
    table.add_row("more in the log", decimal(estimate.log_bytes))
    table.add_row("more in the blob store", decimal(estimate.blob_bytes))
    table.add_row("more in the catalogue", decimal(estimate.catalogue_bytes))
    table.add_row("more in the index (memory and snapshot)", decimal(estimate.index_bytes))
    table.add_row(f"pictures a second, by {estimate.sampled} of them", f"{estimate.rate:,.1f}")
    table.add_row("time, in one process", str(timedelta(seconds=ceil(estimate.seconds))))
    return Group(Text(headline(name, encoder.id, encoder.digest)), table)


def headline(name: str, encoder_id: str, digest: str) -> str:
    """Which generation it is about."""
    return f"Generation {name}: {said(encoder_id)} {digest[:12]}"


def summary_table(events: int, new: int, known: int, rejected: int, dead_letters: int) -> Table:
    """What a replayed stage came to."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("events", "new facts", "already recorded", "rejected", "dead letters"):
        table.add_column(heading, justify="right")
    letters = f"[red]{dead_letters:,}[/]" if dead_letters else "0"
    table.add_row(f"{events:,}", f"{new:,}", f"{known:,}", f"{rejected:,}", letters)
    return table
