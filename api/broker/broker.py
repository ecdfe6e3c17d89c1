"""Broker: a service whose index lies in shards on other servers, with the words of all of them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from tamis.api.broker.replicas import (
    UNAVAILABLE,
    Asking,
    Replica,
    Shards,
    UnreachableError,
    new_session,
    problem_of,
)
from tamis.api.broker.statistics import Statistics
from tamis.api.limits import Limits
from tamis.api.messages.shards import StatisticsAnswer
from tamis.api.problems import RequestError
from tamis.api.serving.faults import ServerFault, told
from tamis.api.serving.library import Library
from tamis.api.serving.service import Service
from tamis.index.errors import InputError, MismatchError, TamisError
from tamis.retriever.first_stage.written_forms import READ

if TYPE_CHECKING:
    from tamis.api.broker.shard_map import ShardMap
    from tamis.retriever.models.encoder import QueryEncoder
    from tamis.retriever.rerank.reranker import Reranker
    from tamis.retriever.searcher import Searcher

LOG = logging.getLogger("tamis.api")
LOOK_S = 5.0  # that a look at a server may take
LOOK_PAUSE_S = 1.0  # between two looks at servers that are out
WAITS = 9.0  # times as long as counting words took, until they are counted again


class BrokerLibrary(Library):
    """One index, which is searched elsewhere; its searcher reads queries alone."""

    def __init__(self, name: str, statistics: Statistics, reranker: Reranker) -> None:
        super().__init__({}, None, reranker)
        self._name, self._statistics = name, statistics

    def names(self) -> tuple[str, ...]:
        """The name of the index."""
        return (self._name,)

    def searchers(self) -> dict[str, Searcher]:
        """What reads its queries."""
        return {self._name: self._statistics.searcher}

    def searcher(self, name: str) -> Searcher:
        """What reads its queries; raises RequestError 404 for another name."""
        if name != self._name:
            raise self._missing(name, name)
        return self._statistics.searcher


@dataclass(frozen=True, slots=True)
class _Look:
    """What a server said of its shard, or why that cannot be used."""

    number: int
    replica: Replica
    answer: StatisticsAnswer | None
    error: Exception | None


class Broker(Service):
    """Asks all shards for each query; lives on one event loop.

    Attributes:
        map: of the shards.
        statistics: words of all shards.
        shards: their servers, from `warm_up` on.
    """

    shards: Shards

    def __init__(
        self,
        shard_map: ShardMap,
        limits: Limits | None = None,
        reranker: Reranker | None = None,
        encoder: QueryEncoder | None = None,
    ) -> None:
        """Ask all servers once.

        Args:
            shard_map: which there are.
            limits: on what requests may ask for.
            reranker: the second stage of searches that ask for one.
            encoder: the index's own; None takes the one that the map names.

        Raises:
            InputError: a shard has no server that answers, or none that takes the key; the encoder
                is not to be had.
            MismatchError: servers are of another version, or hold what does not go together.
        """
        super().__init__({}, limits or Limits(), reranker)
        self.map = shard_map
        self._key = _read_key(shard_map.key_file)
        self._path = f"/v1/indexes/{quote(shard_map.index, safe='')}"
        self.statistics = Statistics(shard_map, encoder or shard_map.encoder, self._texts_with)
        self._renewed = [0.0] * len(shard_map.shards)
        self._sources: dict[int, Replica] = {}
        self._told: ServerFault | None = None
        self._took_s = 0.0
        try:
            asyncio.run(self._begin())
        except BaseException:
            self.close()
            raise
        self.library = BrokerLibrary(shard_map.index, self.statistics, self.reranker)

    @property
    def is_chunked(self) -> bool:
        """Whether the index divides documents into passages."""
        return self.statistics.searcher.collection.settings.chunk is not None

    @property
    def statistics_age_s(self) -> float:
        """Seconds since the words of the shard that was last counted were found to be so."""
        return monotonic() - min(self._renewed)

    @property
    def generation(self) -> int:
        """The generations of all shards together, as far as they are known."""
        return self.statistics.searcher.collection.generation

    def path(self, rest: str) -> str:
        """A path of the index on every server."""
        return f"{self._path}/{rest}"

    def shard_of(self, doc_id: str) -> int:
        """The number of the shard that a document belongs to."""
        return self.map.shard_of(doc_id, is_chunked=self.is_chunked)

    def faults(self) -> dict[str, ServerFault]:
        """What is wrong with which part of the server, or with which server of a shard."""
        found = super().faults()
        for shard in self.shards.all:
            for one in shard.replicas:
                if one.fault is not None:
                    detail = f"{one.address}: {one.fault}"
                    found[f"shard {shard.place.name}"] = ServerFault(UNAVAILABLE, detail, True)
        if self._told is not None:
            found["statistics"] = self._told
        return found

    async def warm_up(self) -> None:
        """Connect on the event loop that answers."""
        self._loop = asyncio.get_running_loop()
        self._renewing = asyncio.Lock()
        self.shards = self._connected()
        await self.renew()

    async def follow(self) -> None:
        """Look at the servers now and then, until cancelled."""
        renewing = asyncio.create_task(self._renew_on_and_on())
        try:
            await super().follow()
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
            await self.shards.close()

    def close(self) -> None:
        """Let the workers finish."""
        super().close()
        self.statistics.close()

    async def renew(self) -> None:
        """Count the words anew where they have changed, and take in servers that answer again."""
        async with self._renewing:
            looks = await self._looks(self.shards)
            for one in looks:
                one.replica.fault = str(one.error) if one.error is not None else None
            began = monotonic()
            await self._take(looks)
            self._took_s = monotonic() - began

    async def _renew_on_and_on(self) -> None:
        while True:
            pause_s = self.map.renew_s if not self.faults() else LOOK_PAUSE_S
            await asyncio.sleep(max(min(pause_s, self.map.renew_s), WAITS * self._took_s))
            error: Exception | None = None
            try:
                await self.renew()
            except Exception as failed:  # noqa: BLE001  told
                error = failed
            self._told = told(self._told, error, "statistics of the shards")

    async def _begin(self) -> None:
        shards = self._connected()
        try:
            looks = await self._looks(shards)
            self._check_all(looks)
            await self._take(looks)
        finally:
            await shards.close()
            self._sources.clear()

    def _connected(self) -> Shards:
        session = new_session(self._key, self.limits.waiting + self.limits.workers)
        return Shards(self.map.shards, session, self.map.deadline_ms / 1000)

    def _check_all(self, looks: list[_Look]) -> None:
        """Refuse to begin with a shard without a server, or a server that cannot be used."""
        for one in looks:
            name = self.map.shards[one.number].name
            if isinstance(one.error, MismatchError | InputError):
                raise type(one.error)(f"shard {name} at {one.replica.address}: {one.error}")
            others = [other for other in looks if other.number == one.number]
            if all(other.answer is None for other in others):
                raise InputError(
                    f"shard {name}: expected a server that answers, found {one.error}; start it, "
                    "or correct the map"
                )

    async def _looks(self, shards: Shards) -> list[_Look]:
        looks = [
            self._look(number, replica)
            for number, shard in enumerate(shards.all)
            for replica in shard.replicas
            if self._is_looked_at(number, replica)
        ]
        return list(await asyncio.gather(*looks))

    def _is_looked_at(self, number: int, replica: Replica) -> bool:
        """Whether a server is out, or tells the statistics of its shard, or is to tell them."""
        source = self._sources.get(number)
        return replica.fault is not None or source is replica or not _is_present(source)

    async def _look(self, number: int, replica: Replica) -> _Look:
        """Ask a server what its shard holds, if that has changed."""
        known = self.statistics.known(number)
        said = {"generation": 0, "words": 0, "fingerprint": ""}
        if known is not None:
            source = self._sources.get(number)
            if source is replica or _is_present(source):  # else its own words will count
                said["generation"] = known.answer.generation
            said |= {"words": known.terms.size, "fingerprint": known.answer.fingerprint}
        asking = Asking("GET", self.path(f"shard/statistics?{urlencode(said)}"))
        try:
            async with asyncio.timeout(LOOK_S):
                reply = await replica.send(asking)
            if reply.status != 200:
                raise _refused(problem_of(reply), self.map)
            answer = msgspec.json.decode(reply.body, type=StatisticsAnswer)
            _check_version(answer)
            self.statistics.check({number: answer})
        except (UnreachableError, TamisError, RequestError) as error:
            return _Look(number, replica, None, error)
        except (TimeoutError, msgspec.MsgspecError) as error:
            why = f"{replica.address}: no answer of Tamis in time ({type(error).__name__})"
            return _Look(number, replica, None, UnreachableError(why))
        return _Look(number, replica, answer, None)

    async def _take(self, looks: list[_Look]) -> None:
        """Take the statistics of one server of each shard that answered."""
        told_by: dict[int, _Look] = {}
        for one in looks:
            source = self._sources.get(one.number)
            if one.answer is not None and (source is one.replica or not _is_present(source)):
                told_by[one.number] = one
        self._sources |= {number: one.replica for number, one in told_by.items()}
        answers = {number: one.answer for number, one in told_by.items() if one.answer}
        await asyncio.to_thread(self.statistics.take, answers)
        for number in answers:
            self._renewed[number] = monotonic()

    def _texts_with(self, word: str) -> list[str]:
        """Beginnings of documents that hold a word; called on a worker."""
        work = asyncio.run_coroutine_threadsafe(self._texts(word), self._loop)
        return work.result()

    async def _texts(self, word: str) -> list[str]:
        asking = Asking("GET", self.path(f"shard/texts?{urlencode({'word': word})}"))
        askings = dict.fromkeys(range(len(self.shards.all)), asking)
        found = await self.shards.ask(askings, self.map.deadline_ms / 1000)
        texts: list[str] = []
        for number in sorted(found):
            texts += msgspec.json.decode(found[number].body, type=_Texts).texts
        return texts[:READ]


class _Texts(msgspec.Struct):
    texts: list[str]


def _is_present(source: Replica | None) -> bool:
    return source is not None and source.fault is None


def _read_key(file: str | None) -> str | None:
    if file is None:
        return None
    try:
        key = Path(file).read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file}: expected a file with an API key, found none to read ({error}); correct "
            "key_file in the map"
        ) from error
    if not (key and key.isascii() and key.isprintable()):
        raise InputError(f"{file}: expected an API key on the first line, found none; write it")
    return key


def _refused(problem: RequestError, shard_map: ShardMap) -> Exception:
    """What keeps a server from being used, by what it answered."""
    if problem.status in (401, 403):
        return InputError(
            f"expected a server that takes the key of the map, found {problem.detail}; name a file "
            "with its key as key_file"
        )
    if problem.status == 404:
        return InputError(
            f"expected a server with the index {shard_map.index!r}, as a shard of this version has "
            f"it, found none ({problem.detail}); correct the map, or start another version"
        )
    return UnreachableError(f"{problem.code}: {problem.detail}")


def _check_version(answer: StatisticsAnswer) -> None:
    if answer.version != version("tamis"):
        raise MismatchError(
            f"expected Tamis {version('tamis')} on every server, found {answer.version}; install "
            "one version on all"
        )
