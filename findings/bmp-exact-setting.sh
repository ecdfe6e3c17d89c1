#!/usr/bin/env bash
# bmp's safe setting, alpha = beta = 1, is not an exact search.
#
# Block-max pruning visits blocks of documents by falling upper bound and may stop when the bound
# drops below the k-th score; with alpha = beta = 1 that is documented to be safe. In bmp 0.2.8
# 1. the block that would be visited last is not scored, even where no k documents were found: a
#    query whose matches lie in one block finds nothing, and one whose matches lie in two finds half;
# 2. weights of a query are rounded to 32 levels of its largest one, so that documents which differ
#    in score by a few per cent come out tied, or in another order.
# Who takes it as the exact baseline of a comparison measures others against a ranking that misses
# documents. Recall of an approximate engine should be counted against a brute-force product.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check bmp==0.2.8
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

from bmp import Indexer, Searcher

print("bmp", version("bmp"))
BLOCK, DOCUMENTS = 8, 64


def build(name, vectors):
    indexer = Indexer(name, BLOCK, False)
    for doc, vector in enumerate(vectors):
        indexer.add_document(str(doc), vector)
    indexer.finish()
    return Searcher(name)


def safe(searcher, query, k):
    return searcher.search(query, k=k, alpha=1.0, beta=1.0)


plain = build("plain.bmp", [{"all": 1 + doc, f"only{doc}": 10} for doc in range(DOCUMENTS)])
one, _ = safe(plain, {"only3": 1.0}, 1)
two, _ = safe(plain, {"only3": 1.0, "only50": 1.0}, 2)
every, _ = safe(plain, {"all": 1.0}, DOCUMENTS)
print(f"1 document matches, in one block: found {one}")
print(f"2 documents match, in two blocks: found {two}")
print(f"{DOCUMENTS} documents match, in {DOCUMENTS // BLOCK} blocks: found {len(every)}")

tilted = build("tilted.bmp", [{"a": 1 + doc, "b": DOCUMENTS - doc} for doc in range(DOCUMENTS)])
weights = {"a": 1.02, "b": 1.0}  # by hand: document 63 has 66.28, document 0 has 65.02
best, scores = safe(tilted, weights, 3)
print(f"weights 1.02 and 1.00, the best is 63: found {best} with scores {scores}")

assert one == []
assert len(two) == 1
assert len(every) == DOCUMENTS - BLOCK
assert best[0] != "63" and len(set(scores)) == 1
PYTHON
