"""SQL that names its tables `{images}`, `{embeddings}` and `{tombstones}`, for those that answer or those beside them."""

from infra.sqlite.schema import TABLES


class Statements:
    """The statements for the tables whose names have this ending."""

    def __init__(self, ending: str = "") -> None:
        self._names = {table: f"{table}{ending}" for table in TABLES}

    def __call__(self, statement: str) -> str:
        """The statement with the tables' names; any other brace is to be doubled."""
        return statement.format(**self._names)
