"""Serves a corpus through pyserini's own REST server, for `tamis bench serve --peer`.

    lucene_server.py CORPUS FOLDER PORT

Needs `pip install 'tamis[pyserini]'`. The server is pyserini's, its searcher Lucene's BM25. Only
the index, which pyserini downloads by name, is put into its place here, and its encoders of
pictures, which ask for an old transformers, are left out.
"""

import sys
from pathlib import Path
from unittest.mock import MagicMock

from tamis.eval.lucene import start_java
from tamis.retriever.corpus.passages import read_passages

NAME = "peer"
PICTURES = ("uniir_base_encoder", "uniir_corpus_encoder", "uniir_query_encoder")


def main(corpus: str, folder: Path, port: int) -> None:
    """Index what is not indexed yet, and serve until stopped."""
    start_java()
    sys.modules["uniir_for_pyserini"] = MagicMock()
    for part in PICTURES:
        sys.modules[f"uniir_for_pyserini.pyserini_integration.{part}"] = MagicMock()
    import uvicorn
    from pyserini.index.lucene import LuceneIndexer
    from pyserini.search.lucene import LuceneSearcher
    from pyserini.server.models import IndexConfig
    from pyserini.server.rest.app import app
    from pyserini.server.search_controller import get_controller

    if not folder.exists():
        indexer = LuceneIndexer(args=["-index", str(folder), "-storeRaw"])  # answers hold texts
        for passage in read_passages(corpus):
            indexer.add_doc_dict({"id": passage.doc_id, "contents": passage.content})
        indexer.close()
    config = IndexConfig(name=NAME, base_index=NAME, index_type="tf")
    config.searcher = LuceneSearcher(str(folder))
    config.searcher.set_bm25(0.9, 0.4)
    get_controller().indexes[NAME] = config
    uvicorn.run(app, port=port, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
