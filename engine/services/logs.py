"""Structured logs: one JSON object a line on stderr, with the id of the request that it is about.

Fields: `time` (RFC 3339), `level`, `logger`, `message`, `request_id` within a request, `error` with a traceback, and
what the call gave as `extra={"fields": {…}}`. Headers and bodies are never logged.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

from ...schema.errors import SettingsError

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
LEVELS = ("debug", "info", "warning", "error")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Never more than one line, whatever the message holds."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if REQUEST_ID.get():
            fields["request_id"] = REQUEST_ID.get()
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str, ensure_ascii=False)


def configure_logging(level: str) -> None:
    """Log everything of a level and above to stderr. Raises `SettingsError` for a level that is none."""
    if level not in LEVELS:
        raise SettingsError(f"log_level: {level!r} is none of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Libraries say at `info` what is of no use to an operator.
    for library in ("hypercorn", "uvicorn"):
        logging.getLogger(library).setLevel("WARNING")
    logging.captureWarnings(True)
