"""A `Database` whose questions are explained in place of being answered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from ..schema.errors import RequestError
from ..schema.explanation import Explanation
from ..schema.profile import Upload
from ..schema.request import (
    DEFAULT_INGEST,
    Answer,
    Database,
    ExplainRequest,
    IngestOptions,
    Request,
    SqlRequest,
)


class Explained(BaseException):
    """Ends what wanted an answer, and brings the explanation. No error: nothing that handles errors may take it."""

    def __init__(self, explanation: Explanation) -> None:
        super().__init__("explained")
        self.explanation = explanation


class ExplainingDatabase:
    """Has every question explained by another database. Raises `Explained`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, request: Request) -> Answer:
        """Explain a request. Raises `Explained`, `RequestError` or `StorageError`."""
        answer = self._database.ask(ExplainRequest(request))
        if not isinstance(answer, Explanation):
            raise RequestError(f"{type(request).__name__} was answered and not explained")
        raise Explained(answer)

    def sql(self, request: SqlRequest) -> NoReturn:
        """Refused. Raises `RequestError`."""
        raise RequestError("SQL is explained by EXPLAIN")

    def ingest(self, uploads: Iterable[Upload], options: IngestOptions = DEFAULT_INGEST) -> NoReturn:
        """Refused. Raises `RequestError`."""
        raise RequestError("an ingest cannot be explained")

    def close(self) -> None:
        """The other database stays open."""
