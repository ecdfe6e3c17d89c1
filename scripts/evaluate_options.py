"""The options of ``tamis eval``, each with its help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tamis.scripts.output import in_a_folder

BASELINES = "bm25, lucene, dense, hybrid, hybrid-sum, dense+prf"

Datasets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATASET",
        help="BEIR or MS MARCO folders, names in --data, or ir_datasets ids; NAME:SPLIT.",
        show_default=False,
    ),
]
Index = Annotated[
    Path | None,
    typer.Option(help="Search this folder of `tamis index` instead of indexing the corpus."),
]
Encoder = Annotated[
    str,
    typer.Option(
        help="Encoder by name or folder; bm25 is the lexical channel alone. With --index, "
        "where its own encoder lies now."
    ),
]
Lexical = Annotated[bool, typer.Option(help="Use the lexical channel as well.")]
LexicalWeight = Annotated[
    float | None,
    typer.Option(help="Factor on the words of queries, 0 or more; by default the index's own."),
]
Rerank = Annotated[
    int | None,
    typer.Option(min=1, metavar="DEPTH", help="Rerank the best DEPTH documents."),
]
Reranker = Annotated[
    Literal["block", "dense"],
    typer.Option(
        help="block: the bundled model; dense: adds the scores of vectors that are stored beside "
        "--index, see `tamis index --dense-store`."
    ),
]
Baseline = Annotated[str, typer.Option(help=f"Evaluate these first, by commas: {BASELINES}.")]
FromRun = Annotated[
    list[Path] | None,
    typer.Option(
        help="Measure this TREC run instead of searching; give several to compare them with "
        "the first.",
        show_default=False,
    ),
]
Measures = Annotated[
    str,
    typer.Option(
        help="Measures by commas, such as nDCG@10,Recall@100; the collection's own by default."
    ),
]
Run = Annotated[
    Path | None, typer.Option(callback=in_a_folder, help="Write the ranking as a TREC run.")
]
Out = Annotated[
    Path | None,
    typer.Option(help="Write the report: a .json file, or a folder for several results."),
]
Html = Annotated[
    Path | None, typer.Option(callback=in_a_folder, help="Write a report to read in a browser.")
]
Suite = Annotated[
    Path | None, typer.Option(help="Evaluate what a TOML file describes, into --out FOLDER.")
]
Only = Annotated[str, typer.Option(help="Of the suite's systems evaluate these alone; by commas.")]
Split = Annotated[
    str | None, typer.Option(help="Judgements to use: train, dev, or by default test.")
]
Data = Annotated[Path | None, typer.Option(help="Folder of datasets, instead of TAMIS_DATA.")]
Queries = Annotated[Path | None, typer.Option(help="File of queries or TREC topics to use.")]
Qrels = Annotated[Path | None, typer.Option(help="File of judgements to use, BEIR's or TREC's.")]
Depth = Annotated[int, typer.Option(min=1, max=10_000, help="Documents to rank for each query.")]
Sample = Annotated[
    int | None,
    typer.Option(min=1, help="Evaluate so many queries, drawn with --seed; all by default."),
]
TimedQueries = Annotated[
    int, typer.Option(min=0, help="Queries to measure latency on; 0 skips it.")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Accept judged documents the corpus lacks.")
]
OwnDocument = Annotated[
    Literal["drop", "keep"] | None,
    typer.Option(
        help="What to do with a document of the query's own id in that query's ranking; by "
        "default what the collection's rules say: where queries are documents, drop it."
    ),
]
Device = Annotated[
    Literal["cpu", "cuda"],
    typer.Option(help="cuda: search exactly on a GPU, at any depth; latency is the CPU's."),
]
Work = Annotated[
    Path | None,
    typer.Option(help="Folder that keeps indexes between evaluations, instead of the cache."),
]
Seed = Annotated[int, typer.Option(help="Seed of samples and significance tests.")]
