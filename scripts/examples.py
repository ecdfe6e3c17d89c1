"""One example of each command, for its help: as one would type it."""

EXAMPLES = {
    "index": "tamis index corpus.jsonl --out planets --fields year:integer --chunk 200:40",
    "assemble": "tamis assemble pieces --out planets --workers 2",
    "split": "tamis split planets --shards 4 --out planets-shards",
    "add": "tamis add planets more.jsonl",
    "patch": "tamis patch planets prices.jsonl --fields price:float",
    "delete": "tamis delete planets venus pluto",
    "search": 'tamis search planets "Which planet has rings?" -k 3 --explain',
    "suggest": 'tamis suggest planets "rings of sat"',
    "synonyms": "tamis synonyms planets --rules synonyms.txt",
    "serve": "tamis serve planets --port 8080",
    "eval": "tamis eval scifact --data datasets --baseline bm25 --measures nDCG@10,R@100",
    "encode": "tamis encode corpus.jsonl --out vectors.safetensors",
    "train": "tamis train scripts/recipes/training/tiny.toml --resume",
    "rerank": "tamis rerank bm25.trec --dataset scifact --out reranked.trec --depth 50",
    "info": "tamis info planets --plot recall.svg",
    "verify": "tamis verify planets",
    "optimize": "tamis optimize planets",
    "tune": "tamis tune planets --queries queries.jsonl",
    "snapshot": "tamis snapshot planets --out planets-monday --copy",
    "restore": "tamis restore planets-monday --out planets-again",
    "export": "tamis export planets --to opensearch --out planets.jsonl.gz",
    "upgrade": "tamis upgrade planets",
    "estimate": "tamis estimate corpus.jsonl --encoder default",
    "doctor": "tamis doctor --warm",
    "demo": "tamis demo --no-serve",
    "bench head": "tamis bench head --quick",
    "bench encode": "tamis bench encode --documents 512 --device cpu",
    "bench agreement": "tamis bench agreement --device cuda --out agreement.json",
    "bench vectors": "tamis bench vectors made --documents leads.jsonl --questions questions.txt",
    "bench gate": "tamis bench gate made --out gate.json",
    "bench search": "tamis bench search --documents 100000 --queries 500",
    "bench precision": "tamis bench precision sample",
    "bench rerank": "tamis bench rerank --repeats 40",
    "bench shards": "tamis bench shards planets --queries queries.jsonl",
    "bench serve": "tamis bench serve planets --queries queries.jsonl --clients 1,8",
}


def example(command: str) -> str:
    """The end of a command's help."""
    return f"Example:\n\n\b\n  {EXAMPLES[command]}"
