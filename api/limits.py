"""Limits: how much one request, and all of them together, may ask for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that the service enforces; a request beyond one is refused, never cut.

    Attributes:
        body_bytes: of a request that carries documents.
        search_body_bytes: of any other request.
        query_bytes: of a query's text in UTF-8.
        query_terms: of a query given as weights.
        k: hits of one query.
        rerank: documents of one query that are reranked.
        batch: queries of one batch, or texts to encode.
        workers: searches that run at once.
        waiting: searches that may wait for a worker; further ones are refused with 503.
    """

    body_bytes: int = 32 << 20
    search_body_bytes: int = 4 << 20
    query_bytes: int = 8 << 10
    query_terms: int = 4096
    k: int = 1000
    rerank: int = 1000
    batch: int = 256
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    waiting: int = 256
