"""Limits: how much one request, and all of them together, may ask for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from tamis.index.errors import InputError
from tamis.index.files.system import usable_cores, usable_memory_bytes
from tamis.index.index import MAX_K

LEAST_MEMORY_BYTES, MOST_MEMORY_BYTES = 64 << 20, 192 << 20  # unless an operator says otherwise
BACKLOG = 2048  # connections that may come at one moment, unless the system lets fewer
MOST_AWAKE = 128  # indexes that are open for writing at once, unless the system lets fewer
MAY_BE_NONE = ("waiting", "reranking", "writing", "offset", "listeners")


def shared_memory_bytes() -> int:
    """A sixteenth of the memory that this process may use, from 64 to 192 MB."""
    return min(max((usable_memory_bytes() or 0) // 16, LEAST_MEMORY_BYTES), MOST_MEMORY_BYTES)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that the service enforces; a request beyond one is refused, never cut.

    Attributes:
        body_bytes: of a request that carries documents, unpacked.
        search_body_bytes: of any other request.
        line_bytes: of one document.
        unpacked_ratio: bytes that a compressed body may unpack to, for each of its own.
        idle_s: seconds that a body may keep still.
        memory_bytes: that all requests hold together: bodies, results, answers on their way.
        query_bytes: of a query's text in UTF-8.
        query_terms: of a query given as weights.
        document_terms: of a document given as weights.
        k: hits of one query.
        offset: hits passed over.
        rerank: documents that are reranked for one request.
        batch: queries of one batch, or texts to encode.
        batch_hits: hits of all queries of one batch together, those passed over among them.
        explained: hits with matched terms or highlights, of all queries of one request together.
        work_s: seconds that a search, explain, encode or rerank may take, waiting included.
        filter_clauses: conditions in one filter, and values in one of its lists.
        filter_depth: how deep its conditions stand in each other.
        delete_ids: ids in one request to delete.
        indexes: that can be created.
        workers: searches that run at once.
        waiting: searches that may wait for a worker; further ones are refused with 503.
        reranking: searches with a second stage that may wait; they are done one after the other.
        writers: writes that run at once.
        writing: writes that may wait for one; further ones are refused with 503.
        tasks: that are not done; further ones are refused with 429.
        listeners: clients that follow a task at once.
        connections: of clients at once; one more takes the place of the one that was idle longest,
            or is refused with 503. Fewer where the system lets the server open fewer files.

    Raises:
        InputError: a limit is below 1, or ``offset`` and ``k`` pass 10,000 together.
    """

    body_bytes: int = 32 << 20
    search_body_bytes: int = 4 << 20
    line_bytes: int = 1 << 20
    unpacked_ratio: int = 100
    idle_s: int = 30
    memory_bytes: int = field(default_factory=shared_memory_bytes)
    query_bytes: int = 8 << 10
    query_terms: int = 4096
    document_terms: int = 4096
    k: int = 1000
    offset: int = 9000
    rerank: int = 1000
    batch: int = 256
    batch_hits: int = 10_000
    explained: int = 4000
    work_s: int = 120
    filter_clauses: int = 64
    filter_depth: int = 8
    delete_ids: int = 10_000
    indexes: int = 256
    workers: int = field(default_factory=usable_cores)
    waiting: int = 256
    reranking: int = 16
    writers: int = 4
    writing: int = 32
    tasks: int = 32
    listeners: int = 16
    connections: int = 1024

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 0 if name in MAY_BE_NONE else 1
            if value < least:
                raise InputError(f"expected a limit {name} of at least {least}, found {value}")
        if self.offset + self.k > MAX_K:
            raise InputError(
                f"expected limits offset and k of at most {MAX_K} together, found {self.offset} "
                f"and {self.k}; lower one of them"
            )
