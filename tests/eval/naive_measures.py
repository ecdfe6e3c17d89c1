"""Measures by their definitions in trec_eval, one query at a time: the truth of the tests.

``grades`` are those of the ranked documents, best first, None for an unjudged one; ``judged`` are
all grades of the query. A document is relevant from ``level`` on; a negative grade judges nothing.
"""

import math


def gain(grade):
    return max(grade or 0, 0)


def dcg(gains):
    return sum(one / math.log2(rank + 1) for rank, one in enumerate(gains, 1))


def ndcg(grades, judged, _level, cutoff=None):
    best = dcg(sorted(map(gain, judged), reverse=True)[:cutoff])
    return dcg([gain(grade) for grade in grades[:cutoff]]) / best if best else 0.0


def hits(grades, level):
    return [grade is not None and grade >= level for grade in grades]


def relevant(judged, level):
    return sum(grade >= level for grade in judged)


def precision(grades, _judged, level, cutoff):
    return sum(hits(grades[:cutoff], level)) / cutoff


def recall(grades, judged, level, cutoff):
    count = relevant(judged, level)
    return sum(hits(grades[:cutoff], level)) / count if count else 0.0


def average_precision(grades, judged, level, cutoff=None):
    found, total = 0, 0.0
    for rank, hit in enumerate(hits(grades[:cutoff], level), 1):
        found += hit
        total += found / rank if hit else 0.0
    count = relevant(judged, level)
    return total / count if count else 0.0


def reciprocal_rank(grades, _judged, level, cutoff=None):
    found = hits(grades[:cutoff], level)
    return 1 / (found.index(True) + 1) if True in found else 0.0


def success(grades, _judged, level, cutoff):
    return float(any(hits(grades[:cutoff], level)))


def r_precision(grades, judged, level):
    count = relevant(judged, level)
    return precision(grades, judged, level, count) if count else 0.0


def bpref(grades, judged, level):
    count, others = relevant(judged, level), sum(0 <= grade < level for grade in judged)
    above, total = 0, 0.0
    for grade in grades:
        if grade is not None and grade >= level:
            total += 1 - (min(above, count) / min(others, count) if above else 0)
        elif grade is not None and grade >= 0:
            above += 1
    return total / count if count else 0.0


MEASURES = {
    "nDCG": ndcg,
    "nDCG@10": lambda *query: ndcg(*query, 10),
    "P@5": lambda *query: precision(*query, 5),
    "R@20": lambda *query: recall(*query, 20),
    "AP": average_precision,
    "AP@10": lambda *query: average_precision(*query, 10),
    "RR": reciprocal_rank,
    "RR@10": lambda *query: reciprocal_rank(*query, 10),
    "Success@3": lambda *query: success(*query, 3),
    "Rprec": r_precision,
    "Bpref": bpref,
}
