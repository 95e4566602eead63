"""All that the catalogue keeps, page by page in order of image id; each page is of one moment."""

import sqlite3
from collections import defaultdict

import orjson

from contracts.ports import Kept
from infra.sqlite.statements import Statements

PAGE = 500

_KEPT = """
SELECT image_id, document, 0 FROM {images} WHERE image_id > ?1
UNION ALL SELECT image_id, '{{}}', 1 FROM {tombstones} WHERE image_id > ?1
ORDER BY image_id LIMIT ?2
"""
_VECTORS = "SELECT image_id, generation, vector FROM {embeddings} WHERE image_id BETWEEN ? AND ?"


def page_behind(database: sqlite3.Connection, statements: Statements, last: str) -> list[Kept]:
    """The next of what is kept behind an image id; empty at the end."""
    database.execute("BEGIN")
    try:
        kept = database.execute(statements(_KEPT), (last, PAGE)).fetchall()
        vectors: dict[str, dict[str, bytes]] = defaultdict(dict)
        if kept:
            for image_id, generation, vector in database.execute(statements(_VECTORS), (kept[0][0], kept[-1][0])):
                vectors[image_id][generation] = vector
    finally:
        database.execute("COMMIT")
    return [
        Kept(image_id, orjson.loads(document), vectors.get(image_id, {}), bool(removed)) for image_id, document, removed in kept
    ]
