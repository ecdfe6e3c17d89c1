"""Puts what the long proofs counted beside figures of `tamis bench serve`.

    collect.py PROOFS.jsonl LOAD.json... > eval/results/service.json

A proof may have run in parts, a line each: counts are added, of times and sizes the largest is
kept, and of provenances the first.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from tamis.eval.provenance import provenance

SEED = 0
LARGEST = ("_ms", "_bytes")


def joined(one, other):
    """The figures of two parts of a proof."""
    found = dict(one)
    for name, figure in other.items():
        if name not in found:
            found[name] = figure
        elif isinstance(figure, dict) and name == "statuses":
            found[name] = dict(sorted((Counter(found[name]) + Counter(figure)).items()))
        elif isinstance(figure, int | float):
            largest = name.endswith(LARGEST)
            found[name] = max(found[name], figure) if largest else found[name] + figure
    return found


def counted(path):
    """The proofs of a file, by name."""
    found = {}
    for line in Path(path).read_text().splitlines():
        for name, figures in json.loads(line).items():
            part = {"parts": 1, **figures}
            found[name] = joined(found[name], part) if name in found else part
    return found


def main(proofs, loads):
    found = {
        "provenance": provenance(SEED),
        "proofs": counted(proofs),
        "load": [json.loads(Path(load).read_text()) for load in loads],
    }
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
