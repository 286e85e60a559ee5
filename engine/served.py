"""A local store that a running server keeps: questions go to the server, which also knows what is not stored yet.

The server leaves `server.json` in the store's directory. Uploads still become blocks of their own through the
catalog, so that a large ingest does not pass through the server.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from ..schema.profile import Upload
from ..schema.request import (
    DEFAULT_INGEST,
    Answer,
    Database,
    IngestOptions,
    IngestReport,
    Request,
    SqlRequest,
)
from ..schema.tenant import SERVER_NOTE


@dataclass(frozen=True)
class RunningServer:
    """Who serves a store, and where.

    While it lives it holds the file `lock`, which a later process of its id does not. Without `multitenancy` it
    answers about one tenant, whatever it is asked.
    """

    pid: int
    url: str
    lock: str
    multitenancy: bool = False

    def write(self, store: Path) -> None:
        """Leave the note in the store's directory, whole or not at all; the directory is made if there is none."""
        store.mkdir(parents=True, exist_ok=True)
        temporary = store / f".{SERVER_NOTE}.{self.pid}"
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(store / SERVER_NOTE)

    @property
    def is_alive(self) -> bool:
        """Whether the lock is held."""
        try:
            with open(self.lock, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except PermissionError:
            # It is another user's; that there is such a process must do.
            return os.path.exists(f"/proc/{self.pid}") or not os.path.isdir("/proc/self")
        except OSError:
            return False
        return False


def running_server(store: str) -> RunningServer | None:
    """The server of a local store, if one is alive. A note that a killed server left, or a spoilt one, is nothing."""
    try:
        found = RunningServer(**json.loads((Path(store) / SERVER_NOTE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    texts = (found.url, found.lock)
    if type(found.pid) is not int or not all(isinstance(text, str) and "\0" not in text for text in texts):
        return None
    return found if found.url.startswith(("http://", "https://")) and found.is_alive else None


class ServedStore:
    """A store and its server as one `Database`."""

    def __init__(self, server: Database, store: Database) -> None:
        self._server = server
        self._store = store

    def ask(self, request: Request) -> Answer:
        """Ask the server."""
        return self._server.ask(request)

    def sql(self, request: SqlRequest) -> pa.Table:
        """Ask the server."""
        return self._server.sql(request)

    def ingest(self, uploads: Iterable[Upload], options: IngestOptions = DEFAULT_INGEST) -> IngestReport:
        """Store uploads as blocks of the store."""
        return self._store.ingest(uploads, options)

    def close(self) -> None:
        """Release both."""
        self._server.close()
        self._store.close()
