"""How good and how fast: datasets, runs, measures, significance, baselines and reports.

from tamis.eval import IndexedSystem, evaluate, load_dataset
from tamis.retriever import Searcher

result = evaluate(IndexedSystem(Searcher.open("index")), load_dataset("scifact"))
print(result.measures)
"""

from tamis.eval.datasets import Dataset, load_dataset
from tamis.eval.evaluate import Evaluation, Options, evaluate, evaluate_run
from tamis.eval.report import write_report
from tamis.eval.run import Run, read_run
from tamis.eval.significance import compare
from tamis.eval.systems import IndexedSystem, TamisSystem

__all__ = [
    "Dataset",
    "Evaluation",
    "IndexedSystem",
    "Options",
    "Run",
    "TamisSystem",
    "compare",
    "evaluate",
    "evaluate_run",
    "load_dataset",
    "read_run",
    "write_report",
]
