"""An index that changes while it is searched, and what its answers must have been.

One client writes it, so that its states follow one another. A search that was sent after the
state ``first`` was found and answered before ``last + 1`` was begun must have found one of those
between, as brute force finds them.
"""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

NAME, TERMS, IDS, K = "counted", 30, 120, 10
CLOSE = 1e-5  # between two sums of the same products


class Answers:
    """Writes and searches on threads of their own until it is stopped.

    Attributes:
        asked: ``[query, first, last, hits, seconds, time]`` of each search.
    """

    def __init__(self, address, headers, seed):
        self._address, self._headers, self._seed = address, headers, seed
        self._changes, self._begun, self._found = [], 0, 0
        self._ends = False
        self.asked, self.refused, self.failures = [], 0, []
        with self._client() as http:
            http.put(f"/v1/indexes/{NAME}", json={"encoder": None}).raise_for_status()
        self._pool = ThreadPoolExecutor(2)
        self._running = [self._pool.submit(work) for work in (self._write, self._search)]

    def _client(self):
        return httpx.Client(base_url=self._address, headers=self._headers, timeout=120)

    def stop(self):
        self._ends = True
        for running in self._running:
            running.result()
        self._pool.shutdown()

    def _write(self):
        rng = random.Random(f"{self._seed} writes")
        with self._client() as http:
            while not self._ends:
                change = {
                    f"d{rng.randrange(IDS)}": vector_of(rng) for _ in range(rng.randrange(1, 8))
                }
                self._changes.append(change)
                self._begun += 1
                while not self._is_written(http, change):  # again the same: it changes nothing
                    self.refused += 1
                    if self._ends:
                        return
                    time.sleep(0.2)
                self._found += 1
                time.sleep(0.1)

    def _is_written(self, http, change):
        lines = (
            json.dumps({"_id": doc_id, "text": doc_id, "vector": vector})
            for doc_id, vector in change.items()
        )
        path = f"/v1/indexes/{NAME}/documents?wait=searchable"
        answer = self._sent(http, path, content="\n".join(lines))
        if answer is not None and answer.json()["failed"]:
            raise AssertionError(answer.text)
        return answer is not None

    def _search(self):
        rng = random.Random(f"{self._seed} searches")
        with self._client() as http:
            while not self._ends:
                query, first, began = vector_of(rng), self._found, time.monotonic()
                body = {"query": {"vector": query}, "k": K, "exact": True}
                answer = self._sent(http, f"/v1/indexes/{NAME}/search", json=body)
                took_s = time.monotonic() - began
                if answer is not None:
                    hits = [[hit["id"], hit["score"]] for hit in answer.json()["hits"]]
                    self.asked.append([query, first, self._begun, hits, took_s, began])
                time.sleep(0.02)

    def _sent(self, http, path, **options):
        """An answer; None where the machine or a bound has refused it, or it was cut off."""
        try:
            answer = http.post(path, **options)
        except httpx.TransportError as error:
            self.failures.append(repr(error))
            return None
        if answer.is_success:
            return answer
        if answer.status_code not in (503, 507) or answer.json()["code"] == "internal_error":
            self.failures.append(f"{answer.status_code} {answer.text[:200]}")
        return None

    def wrong(self):
        """The searches whose answers are those of no state they can have met."""
        states = [{}]
        for change in self._changes:
            states.append({**states[-1], **change})
        return [
            asked
            for asked in self.asked
            if not any(
                is_answer(asked[3], asked[0], states[at]) for at in range(asked[1], asked[2] + 1)
            )
        ]


def vector_of(rng):
    terms = rng.sample(range(TERMS), rng.randrange(1, 6))
    return {f"=t{term}": rng.randrange(1, 16) / 4 for term in terms}


def is_answer(hits, query, documents):
    """Whether hits are the K best of all documents, each with its score."""
    scores = {
        doc_id: sum(weight * query.get(term, 0.0) for term, weight in vector.items())
        for doc_id, vector in documents.items()
    }
    best = sorted((score for score in scores.values() if score > 0), reverse=True)[:K]
    found = [score for _, score in hits]
    return (
        len({doc_id for doc_id, _ in hits}) == len(hits) == len(best)
        and all(abs(one - other) < CLOSE for one, other in zip(found, best, strict=True))
        and all(abs(scores.get(doc_id, -1.0) - score) < CLOSE for doc_id, score in hits)
    )
