"""`python -m tests.support.golden_facts`: write the golden file of every fact version that has none. `make schema` runs it.

A golden file shows how a version was once written, so it is never changed: later code must still read it.
"""

from pathlib import Path

import orjson

from infra.nats.reader import encode_body
from tests.support.facts import example_facts

FOLDER = Path(__file__).parents[1] / "golden"


def write_missing_files() -> list[Path]:
    """Write an example of each fact whose current version has no golden file yet. Returns the new files."""
    written = []
    for fact in example_facts():
        file = FOLDER / f"{fact.type_name()}.v{fact.version}.json"
        if not file.exists():
            file.write_bytes(orjson.dumps(orjson.loads(encode_body(fact)), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            written.append(file)
    return written


if __name__ == "__main__":
    for file in write_missing_files():
        print("written:", file)
