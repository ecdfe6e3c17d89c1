"""Logs as one JSON object a line, on standard error. No header, body or query string is written."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

Level = Literal["info", "warning", "error"]


def start(level: Level = "warning") -> None:
    """Write everything the process logs as JSON lines.

    Args:
        level: of the service's own records; ``info`` writes one line a request. Libraries are held
            at warnings.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    logging.getLogger("tamis").setLevel(level.upper())


class JsonLines(logging.Formatter):
    """A record as JSON: time, level, logger, message, and what it carries as ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, in ASCII: nothing a client sends can begin another one."""
        when = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
