import pytest
import size_table


def report(us, peers, cells=()):
    best = [{"engine": "tamis", "us": us}, *({"engine": e, "us": u} for e, u in peers.items())]
    return {
        "best": [{"kind": "short", "k": 10, "level": 0.95} | row for row in best],
        "cells": list(cells),
    }


@pytest.mark.parametrize(
    ("us", "peers", "cell"),
    [
        (50.0, {"Seismic": 200.0, "SINDI, plain": 100.0}, "50, 100 Q, **0.50**"),
        (50.0, {"Seismic": None, "SINDI, plain": None}, "50, no peer"),
        (None, {"Seismic": 200.0}, "not reached"),
    ],
)
def test_a_cell_is_our_time_beside_the_best_peer_that_reaches_the_level(us, peers, cell):
    assert size_table._cell(report(us, peers), "short", 10, 0.95) == cell


def test_the_page_holds_the_table_of_the_committed_results():
    page = (size_table.ROOT / "index/README.md").read_text("utf-8")
    assert size_table.written(page) == page
    assert "| 1,000,000 composed, short | 170, 576 S, **0.29** |" in page
