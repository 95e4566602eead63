"""`mapseek generations`: the generations as a table or as JSON."""

from collections.abc import Sequence

import orjson
from rich.box import SIMPLE_HEAD
from rich.filesize import decimal
from rich.table import Table

from pipeline.generations.encoders import said
from pipeline.generations.listing import Listed

COLOURS = {"active": "green", "ready": "cyan", "building": "yellow", "paused": "yellow"}


def generations_json(listed: Sequence[Listed]) -> str:
    """A JSON array, one object a generation."""
    return orjson.dumps([_plain(each) for each in listed]).decode()


def generations_table(listed: Sequence[Listed]) -> Table:
    """The table for a terminal of 80 columns."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("name", "state", "encoder and weights", "pixels"):
        table.add_column(heading, overflow="fold")
    for heading in ("images", "missing", "vectors"):
        table.add_column(heading, justify="right")
    for each in listed:
        state = f"[{COLOURS[each.state]}]{each.state}[/]" if each.state in COLOURS else each.state
        encoder = f"{said(each.encoder)} {each.digest[:12]}"
        counts = (f"{each.images:,}", f"{each.missing:,}", decimal(each.vector_bytes))
        table.add_row(each.name, state, encoder, each.preprocessing, *counts)
    return table


def _plain(each: Listed) -> dict[str, object]:
    return {
        "name": each.name,
        "state": each.state,
        "encoder": each.encoder,
        "digest": each.digest,
        "preprocessing": each.preprocessing,
        "fingerprint": each.fingerprint,
        "dimensions": each.dimensions,
        "images": each.images,
        "missing": each.missing,
        "vector_bytes": each.vector_bytes,
    }
