"""An archive forgets what the log forgot: images that were removed, people who asked for it, and whatever else is gone there."""

import sqlite3
from contextlib import aclosing

from contracts.events import AlertFact, ImageRemoved, SearchJudged
from contracts.state import Forgotten
from contracts.subjects import ALERTS, FAILURES, FORGOTTEN, JUDGEMENTS, RETRIES, kind_filter
from infra.nats.connection import Client
from pipeline.backup.entries import entries
from pipeline.backup.reading import recorded

_TOMBSTONES = kind_filter(ImageRemoved).removesuffix(">") + "*"


async def drop_what_is_gone(database: sqlite3.Connection, client: Client, stream: str, until: int) -> None:
    """Take out what a log holds no more of what was exported up to that sequence."""
    async with aclosing(recorded(client, stream, after=0, until=until, bodies=False)) as there_now:
        there = {entry.sequence async for entry in there_now}
    known = database.execute("SELECT sequence FROM entries WHERE stream = ? AND sequence <= ?", (stream, until)).fetchall()
    gone = [(stream, sequence) for (sequence,) in known if sequence not in there]
    database.executemany("DELETE FROM entries WHERE stream = ? AND sequence = ?", gone)


def forget(database: sqlite3.Connection) -> None:
    """Take out what is about removed images and was said by forgotten people, though the log may not be rid of it yet."""
    database.execute("DELETE FROM entries WHERE entity IN (SELECT entity FROM removed) AND NOT subject GLOB ?", (_TOMBSTONES,))
    _forget_people(database)
    database.execute(
        "DELETE FROM blobs WHERE NOT EXISTS (SELECT 1 FROM uses WHERE uses.store = blobs.store AND uses.name = blobs.name)"
    )


def _forget_people(database: sqlite3.Connection) -> None:
    """Alerts and votes up to the moment at which a person asked to be forgotten; they may have made new ones since."""
    documents = database.execute("SELECT key, value FROM state WHERE key GLOB ?", (f"{FORGOTTEN}.*",))
    until = {tuple(key.split(".")[1:]): Forgotten.model_validate_json(value).until for key, value in documents}
    if not until:
        return
    said = [kind_filter(SearchJudged).partition("*")[0], f"mapseek.{AlertFact.family}."]
    gone = []
    for stream in (JUDGEMENTS, ALERTS, FAILURES, RETRIES):
        for entry in entries(database, stream):
            about = entry.about
            moment = until.get((about[4], about[6])) if len(about) > 6 and ".".join(about).startswith(tuple(said)) else None
            if moment is not None and entry.headers.get("ce-time", "") <= moment.isoformat():
                gone.append((entry.stream, entry.sequence))
    database.executemany("DELETE FROM entries WHERE stream = ? AND sequence = ?", gone)
