"""Effectiveness of a run against judgements, through ir-measures and with trec_eval's values.

Knows nothing of systems and files.
"""

from __future__ import annotations

import difflib
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError, TamisWarning
from tamis.retriever.corpus.judgements import MAX_GRADE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tamis.eval.run import Run

_USUAL = (
    "nDCG@10", "nDCG@100", "nDCG", "Recall@10", "Recall@100", "Recall@1000", "R@100", "MRR@10",
    "RR@10", "MRR", "MAP", "MAP@100", "AP", "P@5", "P@10", "Precision@10", "Success@1",
    "Success@10", "Rprec", "Bpref",
)  # fmt: skip
_ALIASES = {"recall": "R", "mrr": "RR", "map": "AP", "ndcg": "nDCG", "precision": "P", "rr": "RR"}


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure that was asked for.

    Attributes:
        name: as the user wrote it, which is how reports print it.
        definition: ir-measures' own spelling, with the relevance level it uses.
        base: the ir-measures object that is computed.
        cutoff: ranks below it give 0; 0 where ``base`` cuts by itself.
    """

    name: str
    definition: str
    base: Any
    cutoff: int = 0


def parse_measures(names: Sequence[str], relevant_from: int = 1) -> list[Measure]:
    """The measures of these names, binary ones counting grades from ``relevant_from``.

    A name may state its own level ("R(rel=1)@100"), which then holds.

    Raises:
        InputError: no name, or one that trec_eval does not compute; the message shows the nearest.
    """
    if not names:
        raise InputError("expected at least one measure, found none; ask for nDCG@10, say")
    return [_parse(name.strip(), relevant_from) for name in names]


def _parse(name: str, relevant_from: int) -> Measure:
    import ir_measures

    match = re.fullmatch(r"(\w+)((?:\(.*\))?)((?:@\d+)?)", name)
    if match is None:
        raise _unknown(name)
    family = _ALIASES.get(match[1].lower(), match[1])
    try:
        base = ir_measures.parse_measure(family + match[2] + match[3])
        if relevant_from > 1 and "rel" in base.SUPPORTED_PARAMS and "rel" not in base.params:
            base = base(rel=relevant_from)
        definition = str(base)
        cutoff = base["cutoff"] if base.NAME == "RR" and match[3] else 0
        if cutoff:  # ir-measures computes RR@k with other ties than trec_eval's: cut RR instead
            base = ir_measures.RR(rel=base["rel"])
        known = ir_measures.pytrec_eval.supports(base)
    except (NameError, ValueError, SyntaxError, AssertionError, KeyError) as error:
        raise _unknown(name) from error
    if not known:
        raise _unknown(name)
    return Measure(name, definition, base, cutoff)


def _unknown(name: str) -> InputError:
    near = difflib.get_close_matches(name.lower(), [usual.lower() for usual in _USUAL], 3, 0.3)
    shown = [usual for usual in _USUAL if usual.lower() in near] or list(_USUAL[:4])
    return InputError(
        f"expected a measure that trec_eval computes, found {name!r}; nearest: {', '.join(shown)}"
    )


class MeasureWarning(TamisWarning):
    """Judgements that trec_eval cannot take were left out."""


def measurable(
    qrels: Mapping[str, Mapping[str, int]],
) -> tuple[dict[str, dict[str, int]], int]:
    """The judgements that trec_eval can take, and the number of the others.

    It ends the process at a query whose grades are all negative, and counts up to the highest
    grade, however high. Queries stay, though they may have no judgement left.
    """
    kept = {
        query: {doc: grade for doc, grade in grades.items() if abs(grade) <= MAX_GRADE}
        for query, grades in qrels.items()
    }
    kept = {
        query: grades if max(grades.values(), default=0) >= 0 else {}
        for query, grades in kept.items()
    }
    return kept, sum(len(grades) - len(kept[query]) for query, grades in qrels.items())


def per_query(
    run: Run, qrels: Mapping[str, Mapping[str, int]], measures: Sequence[Measure]
) -> dict[str, dict[str, float]]:
    """Value of each measure for each judged query.

    Equal scores are ordered as trec_eval orders them, whatever the measure. A judged query that
    the run lacks has 0 everywhere (``trec_eval -c``); queries without judgements are left out.

    Returns:
        Measure name -> query id -> value, queries in the order of ``qrels``.

    Warns:
        MeasureWarning: judgements were left out; see `measurable`.
    """
    import ir_measures

    bases = list({str(measure.base): measure.base for measure in measures}.values())
    judged, left_out = measurable(qrels)
    if left_out:
        warnings.warn(
            f"{left_out} judgements are left out: grades beyond {MAX_GRADE:,}, and those of "
            "queries that have only negative ones; such queries count as 0",
            MeasureWarning,
            stacklevel=2,
        )
    evaluator = ir_measures.pytrec_eval.evaluator(bases, judged)
    found: dict[str, dict[str, float]] = {str(base): {} for base in bases}
    ranked = {  # an empty ranking would end the process
        query: dict(scores) for query, scores in run.scores.items() if query in judged and scores
    }
    for metric in evaluator.iter_calc(ranked):
        found[str(metric.measure)][metric.query_id] = metric.value
    return {
        measure.name: {
            query: _cut(found[str(measure.base)].get(query, 0.0), measure.cutoff)
            for query in judged
        }
        for measure in measures
    }


def _cut(reciprocal_rank: float, cutoff: int) -> float:
    return reciprocal_rank if not cutoff or reciprocal_rank * cutoff >= 1 - 1e-9 else 0.0


def means(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean over queries of each measure."""
    return {name: sum(of.values()) / len(of) for name, of in values.items()}
