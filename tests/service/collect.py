"""Puts what the long proofs counted beside figures of `tamis bench serve`.

collect.py PROOFS.jsonl LOAD.json... > eval/results/service.json
"""

import json
import sys
from pathlib import Path

from tamis.eval.provenance import provenance

SEED = 0


def main(proofs, loads):
    counted = {}
    for line in Path(proofs).read_text().splitlines():
        counted.update(json.loads(line))  # the last line of a proof is its whole
    found = {
        "provenance": provenance(SEED),
        "proofs": counted,
        "load": [json.loads(Path(load).read_text()) for load in loads],
    }
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
