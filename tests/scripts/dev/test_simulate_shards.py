"""The simulation of shards agrees with what queueing theory and hand-worked cases say."""

import numpy as np
import pytest
import simulate_shards
from simulate_shards import arrivals, one_shard, simulate


def test_queries_wait_for_a_thread_in_their_order():
    at_ms = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    takes_ms = np.full((5, 2), 10.0)  # two replicas of two threads: the fifth waits
    answered, twice = one_shard(at_ms, takes_ms, None)
    assert answered.tolist() == [10, 10, 10, 10, 20]
    assert twice == 0


def test_a_late_replica_is_overtaken_by_the_other():
    at_ms = np.array([0.0, 100.0])
    takes_ms = np.array([[50.0, 1.0], [1.0, 1.0]])
    answered, twice = one_shard(at_ms, takes_ms, 5.0)
    assert answered.tolist() == [6, 101]
    assert twice == 1


def test_one_server_waits_as_the_formula_of_erlang_says(monkeypatch):
    """M/M/c: the mean wait is C(c, a) / (c mu - lambda), of two threads C = 2 r^2 / (1 + r)."""
    monkeypatch.setattr(simulate_shards, "REPLICAS", 1)
    rng, busy = np.random.default_rng(3), 0.7
    at_ms = arrivals(rng, 1.0, busy)
    takes_ms = rng.exponential(1.0, (at_ms.size, 1))
    answered, _ = one_shard(at_ms, takes_ms, None)
    waits = answered - at_ms - takes_ms[:, 0]
    expected = 2 * busy**2 / (1 + busy) / (2 - 2 * busy)
    assert waits.mean() == pytest.approx(expected, rel=0.15)


def test_more_shards_are_slower_and_hedging_helps_against_pauses(monkeypatch):
    monkeypatch.setattr(simulate_shards, "ARRIVALS", 3000)
    times_ms = np.random.default_rng(1).gamma(4.0, 0.25, (50, 10))
    one = simulate(times_ms, 1, 0.3, pauses=True)
    many = simulate(times_ms, 16, 0.3, pauses=True)
    assert many["plain_p50_ms"] > one["plain_p50_ms"]
    assert many["hedged_p99_ms"] < many["plain_p99_ms"]
    assert 0 < many["asked_twice"] < 0.08
