"""Start-time fair queueing keeps the bounds that its authors prove, on a clock that is counted."""

import itertools
import random

import pytest

from tamis.api.work.fair_queue import FairQueue


def anything(ticket):
    return True


class Worker:
    """One worker that takes slices of counted length until all calls are done."""

    def __init__(self, slice_of):
        self.queue, self.clock, self.slice_of = FairQueue(), 0.0, slice_of
        self.slices = []  # (client, call, began, seconds)

    def push(self, client, call, seconds):
        self.queue.push([call, seconds], client)

    def step(self):
        ticket = self.queue.pop(anything)
        call, left = ticket.item
        seconds = min(left, self.slice_of(ticket.client.name))
        self.slices.append((ticket.client.name, call, self.clock, seconds))
        self.clock += seconds
        ticket.item[1] = left - seconds
        self.queue.charge(ticket, seconds)
        if ticket.item[1] > 0:
            self.queue.push_back(ticket)
        else:
            self.queue.leave(ticket)

    def run(self, until=float("inf")):
        while len(self.queue) and self.clock < until:
            self.step()


def shares(slices, key):
    """The work that each had, after each slice."""
    had = {key(one): 0.0 for one in slices}
    for one in slices:
        had[key(one)] += one[3]
        yield dict(had)


@pytest.mark.parametrize("seed", range(5))
def test_clients_that_always_wait_never_differ_by_more_than_their_longest_slices(seed):
    """Theorem 1 of Goyal, Vin and Cheng (1996): |W_f - W_m| <= l_f + l_m over any interval."""
    rng = random.Random(seed)
    longest = {"a": 0.003, "b": 0.02, "c": 0.05}
    worker = Worker(lambda client: rng.uniform(0.001, longest[client]))
    for client, calls in (("a", 1), ("b", 7), ("c", 40)):
        for call in range(calls):
            worker.push(client, call, 1e9)
    worker.run(until=20.0)
    after = [dict.fromkeys(longest, 0.0), *shares(worker.slices, lambda one: one[0])]
    for one, other in itertools.combinations(longest, 2):
        ahead = [had.get(one, 0.0) - had.get(other, 0.0) for had in after]
        assert max(ahead) - min(ahead) <= longest[one] + longest[other] + 1e-9


def test_calls_of_one_client_share_its_part():
    worker = Worker(lambda client: 0.005)
    for call in range(4):
        worker.push("a", call, 1e9)
    worker.push("b", 0, 1e9)
    worker.run(until=8.0)
    *_, had = shares(worker.slices, lambda one: one[:2])
    assert had["b", 0] == pytest.approx(4.0, abs=0.01)
    for call in range(4):
        assert had["a", call] == pytest.approx(1.0, abs=0.01)


def test_a_short_call_goes_before_what_is_left_of_long_ones():
    """Also of the same client, and however much the long ones have had before it came."""
    worker = Worker(lambda client: 0.01)
    for call in range(8):
        worker.push("a", call, 1e9)
    worker.run(until=5.0)
    came = worker.clock
    worker.push("a", "short", 0.001)
    worker.push("b", "short", 0.001)
    worker.run(until=came + 0.03)
    began = {one[:2]: one[2] for one in worker.slices if one[1] == "short"}
    assert began["b", "short"] <= came + 0.01 + 1e-9  # a's and b's turn are equal: one slice
    assert began["a", "short"] <= came + 0.02 + 1e-9


def test_a_client_that_was_away_is_not_paid_back():
    worker = Worker(lambda client: 0.01)
    worker.push("a", 0, 1e9)
    worker.push("b", 0, 0.01)
    worker.run(until=10.0)  # a alone for nearly all of the time
    worker.push("b", 1, 1e9)
    worker.run(until=20.0)
    late = [one for one in worker.slices if one[2] >= 10.0]
    *_, had = shares(late, lambda one: one[0])
    assert had["a"] == pytest.approx(had["b"], abs=0.02)


def test_equals_go_in_the_order_they_came():
    worker = Worker(lambda client: 1.0)
    for number, client in enumerate("aabba"):
        worker.push(client, number, 1.0)
    worker.run()
    assert [one[1] for one in worker.slices] == [0, 2, 1, 3, 4]  # worked by hand


def test_what_may_not_go_stays_and_loses_no_turn():
    queue = FairQueue()
    for name in "ab":
        queue.push(name, name)
    assert queue.pop(lambda ticket: ticket.item == "c") is None
    assert queue.pop(lambda ticket: ticket.item == "b").item == "b"
    assert queue.pop(anything).item == "a"
    assert queue.pop(anything) is None


def test_alike_calls_are_taken_out_in_their_order():
    queue = FairQueue()
    tickets = [queue.push(number, client) for number, client in enumerate("aaabbb")]
    queue.charge(tickets[0], 1.0)
    found = queue.pop_alike(lambda ticket: ticket.item % 2 == 0, most=2)
    assert [ticket.item for ticket in found] == [4, 2]  # b has had less, and 2 less than 0
    assert sorted(ticket.item for ticket in queue) == [0, 1, 3, 5]


def test_the_client_with_most_calls_makes_room():
    queue = FairQueue()
    for number, client in enumerate("aaab"):
        queue.push(number, client)
    assert queue.pop_newest_of_longest("a", anything) is None
    assert queue.pop_newest_of_longest("b", lambda ticket: ticket.item < 2).item == 1
    assert queue.pop_newest_of_longest("c", anything).item == 2


def test_nothing_is_remembered_of_clients_without_calls():
    worker = Worker(lambda client: 0.5)
    for number in range(100):
        worker.push(f"client{number}", 0, 1.0)
    worker.run()
    assert not worker.queue._clients
