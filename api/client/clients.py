"""Client and AsyncClient: the operations as methods, over httpx."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

import httpx

from tamis.api.client import exchanges
from tamis.api.client.bulk import Upload, between
from tamis.api.client.conversation import conversation
from tamis.api.client.errors import ServiceError
from tamis.api.client.repeats import Repeats
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from typing import Self

    from tamis.api.client.conversation import Outcome, Step
    from tamis.api.client.exchanges import Exchange, Wait
    from tamis.api.messages.write_answers import IngestAnswer, TaskAnswer

    Document = Mapping[str, Any]
    Sends = Callable[[str, bytes, Wait], Exchange[IngestAnswer]]

TIMEOUT_S = 150.0  # a server works up to 120 s
CONNECT_S = 10.0
LOOK_S = 0.5  # between two looks at a task
UNFINISHED = ("waiting", "running")
P = ParamSpec("P")
Answer = TypeVar("Answer")


class _Method(Generic[P, Answer]):
    """An exchange as a method: of a client it gives the answer, of an async one it awaits it."""

    def __init__(self, describe: Callable[P, Exchange[Answer]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Exchange[Answer]]: ...
    @overload
    def __get__(self, client: Client, owner: type) -> Callable[P, Answer]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: type) -> Callable[P, Awaitable[Answer]]: ...
    def __get__(self, client: Client | AsyncClient | None, owner: type) -> Any:
        if client is None:
            return self._describe

        @wraps(self._describe)
        def ask(*arguments: P.args, **named: P.kwargs) -> Answer | Awaitable[Answer]:
            return client.send(self._describe(*arguments, **named))

        return ask


class _Operations:
    """Every operation that both clients have, under its name in ``/openapi.json``."""

    info = _Method(exchanges.info)
    search = _Method(exchanges.search)
    search_indexes = _Method(exchanges.search_indexes)
    search_batch = _Method(exchanges.search_batch)
    explain = _Method(exchanges.explain)
    list_documents = _Method(exchanges.list_documents)
    suggest = _Method(exchanges.suggest)
    encode = _Method(exchanges.encode)
    rerank = _Method(exchanges.rerank)
    list_indexes = _Method(exchanges.list_indexes)
    get_index = _Method(exchanges.get_index)
    create_index = _Method(exchanges.create_index)
    add_fields = _Method(exchanges.add_fields)
    remove_index = _Method(exchanges.remove_index)
    reopen_index = _Method(exchanges.reopen_index)
    list_aliases = _Method(exchanges.list_aliases)
    put_alias = _Method(exchanges.put_alias)
    remove_alias = _Method(exchanges.remove_alias)
    get_document = _Method(exchanges.get_document)
    put_document = _Method(exchanges.put_document)
    patch_document = _Method(exchanges.patch_document)
    delete_document = _Method(exchanges.delete_document)
    delete_documents = _Method(exchanges.delete_documents)
    get_synonyms = _Method(exchanges.get_synonyms)
    put_synonyms = _Method(exchanges.put_synonyms)
    take_snapshot = _Method(exchanges.take_snapshot)
    list_snapshots = _Method(exchanges.list_snapshots)
    remove_snapshot = _Method(exchanges.remove_snapshot)
    restore_snapshot = _Method(exchanges.restore_snapshot)
    optimize_index = _Method(exchanges.optimize_index)
    list_tasks = _Method(exchanges.list_tasks)
    get_task = _Method(exchanges.get_task)
    cancel_task = _Method(exchanges.cancel_task)


class Client(_Operations):
    """A server, asked one request after the other; may be used by many threads."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        repeats: Repeats = Repeats(),  # noqa: B008  frozen
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            url: of the server, such as ``http://127.0.0.1:8080``.
            key: API key, where the server asks for one.
            timeout_s: that one attempt may stay without a byte.
            repeats: what is sent again, and when.
            transport: of httpx, for a proxy or certificates of one's own.

        Raises:
            InputError: the URL is none of HTTP, or the key cannot stand in a header.
        """
        self.repeats = repeats
        self._http = httpx.Client(**_settings(url, key, timeout_s), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def send(self, exchange: Exchange[Answer]) -> Answer:
        """Carry out what an operation describes.

        Raises:
            ServiceError: it was refused, or not answered.
        """
        talk = conversation(exchange, lambda one: _request(self._http, one), self.repeats)
        outcome: Outcome = None
        while True:
            try:
                step = talk.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            outcome = self._do(step)

    def _do(self, step: Step) -> Outcome:
        if not isinstance(step, httpx.Request):
            time.sleep(step)
            return None
        try:
            return self._http.send(step)
        except httpx.TransportError as error:
            return error

    def add_documents(
        self, index: str, documents: Iterable[Document], wait: Wait = "durable"
    ) -> IngestAnswer:
        """Add or replace documents, as many as come.

        They are sent in bodies of a few megabytes, each carried out once, however often it has to
        be sent.

        Args:
            index: name of the index.
            documents: each with an ``_id``; read as they are sent.
            wait: what is waited for at the end: ``none``, ``durable`` or ``searchable``.

        Returns:
            How many were written, and what was wrong with which others, by their number from 1.

        Raises:
            ServiceError: a body was refused; a note tells how many documents were written before.
            InputError: JSON cannot hold a document.
        """
        return self._write(exchanges.add_lines, index, documents, wait)

    def patch_documents(
        self, index: str, changes: Iterable[Document], wait: Wait = "durable"
    ) -> IngestAnswer:
        """Change fields of documents, each change with its ``_id``; as `add_documents`."""
        return self._write(exchanges.patch_lines, index, changes, wait)

    def _write(
        self, sends: Sends, index: str, documents: Iterable[Document], wait: Wait
    ) -> IngestAnswer:
        upload = Upload()

        def send(full: bytes, wait: Wait) -> None:
            try:
                upload.answered(full, self.send(sends(index, full, wait)))
            except ServiceError as error:
                raise upload.told(error) from error.__cause__

        for document in documents:
            if (full := upload.take(document)) is not None:
                send(full, between(wait))
        send(upload.rest(), wait)
        return upload.answer

    def wait_for(self, task: TaskAnswer, timeout_s: float = 3600.0) -> TaskAnswer:
        """The task once it has ended, in whatever way its ``status`` tells.

        Raises:
            ServiceError: ``timeout``: it has not ended in time; it goes on.
        """
        end = time.monotonic() + timeout_s
        while task.status in UNFINISHED:
            if time.monotonic() > end:
                raise _late(task, timeout_s)
            time.sleep(LOOK_S)
            task = self.get_task(task.id)
        return task


class AsyncClient(_Operations):
    """The same for ``async`` code: every method of `Client` is to be awaited."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        repeats: Repeats = Repeats(),  # noqa: B008  frozen
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Open nothing yet; see `Client`."""
        self.repeats = repeats
        self._http = httpx.AsyncClient(**_settings(url, key, timeout_s), transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def send(self, exchange: Exchange[Answer]) -> Answer:
        """Carry out what an operation describes; see `Client.send`."""
        talk = conversation(exchange, lambda one: _request(self._http, one), self.repeats)
        outcome: Outcome = None
        while True:
            try:
                step = talk.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            outcome = await self._do(step)

    async def _do(self, step: Step) -> Outcome:
        if not isinstance(step, httpx.Request):
            await asyncio.sleep(step)
            return None
        try:
            return await self._http.send(step)
        except httpx.TransportError as error:
            return error

    async def add_documents(
        self,
        index: str,
        documents: Iterable[Document] | AsyncIterable[Document],
        wait: Wait = "durable",
    ) -> IngestAnswer:
        """Add or replace documents, as many as come; see `Client.add_documents`."""
        return await self._write(exchanges.add_lines, index, documents, wait)

    async def patch_documents(
        self,
        index: str,
        changes: Iterable[Document] | AsyncIterable[Document],
        wait: Wait = "durable",
    ) -> IngestAnswer:
        """Change fields of documents, each change with its ``_id``; as `add_documents`."""
        return await self._write(exchanges.patch_lines, index, changes, wait)

    async def _write(
        self,
        sends: Sends,
        index: str,
        documents: Iterable[Document] | AsyncIterable[Document],
        wait: Wait,
    ) -> IngestAnswer:
        upload = Upload()

        async def send(full: bytes, wait: Wait) -> None:
            try:
                upload.answered(full, await self.send(sends(index, full, wait)))
            except ServiceError as error:
                raise upload.told(error) from error.__cause__

        async for document in _each(documents):
            if (full := upload.take(document)) is not None:
                await send(full, between(wait))
        await send(upload.rest(), wait)
        return upload.answer

    async def wait_for(self, task: TaskAnswer, timeout_s: float = 3600.0) -> TaskAnswer:
        """The task once it has ended; see `Client.wait_for`."""
        end = time.monotonic() + timeout_s
        while task.status in UNFINISHED:
            if time.monotonic() > end:
                raise _late(task, timeout_s)
            await asyncio.sleep(LOOK_S)
            task = await self.get_task(task.id)
        return task


async def _each(
    documents: Iterable[Document] | AsyncIterable[Document],
) -> AsyncIterator[Document]:
    if isinstance(documents, AsyncIterable):
        async for document in documents:
            yield document
    else:
        for document in documents:
            yield document


def _settings(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    """Those of httpx; raises InputError."""
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InputError(
            f"expected a URL such as http://127.0.0.1:8080, found {url!r} ({error}); correct it"
        ) from error
    if found.scheme not in ("http", "https") or not found.host:
        raise InputError(
            f"expected a URL such as http://127.0.0.1:8080, found {url!r}; begin it with http://"
        )
    if key is not None and not (key and key.isascii() and key.isprintable() and key.strip() == key):
        raise InputError(
            "expected an API key of printable ASCII characters, found another; copy it again"
        )
    return {
        "base_url": found,
        "headers": {} if key is None else {"Authorization": f"Bearer {key}"},
        "timeout": httpx.Timeout(timeout_s, connect=CONNECT_S),
    }


def _request(http: httpx.Client | httpx.AsyncClient, exchange: Exchange[Any]) -> httpx.Request:
    return http.build_request(
        exchange.method,
        exchange.path,
        params=exchange.parameters,
        content=exchange.body,
        headers=exchange.headers,
    )


def _late(task: TaskAnswer, timeout_s: float) -> ServiceError:
    return ServiceError(
        "timeout",
        f"expected task {task.id} to end within {timeout_s} s, found it {task.status}; wait longer",
    )
