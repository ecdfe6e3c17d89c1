"""``tamis bench``: measurements on the machine at hand; each behind a gate of correctness."""

from json import dumps
from pathlib import Path
from typing import Annotated, Literal

import typer

from tamis.scripts.examples import example
from tamis.scripts.extras import require
from tamis.scripts.output import (
    Command,
    JsonOption,
    aligned,
    human_bytes,
    in_a_folder,
    print_json,
)


def bench_commands() -> typer.Typer:
    """The group of measuring commands."""
    group = typer.Typer(
        name="bench",
        no_args_is_help=True,
        help="Measure speed and memory on this machine.",
        rich_markup_mode=None,
        add_completion=False,
    )
    for command in (
        head,
        encode,
        agreement,
        vectors,
        gate,
        search,
        precision,
        rerank,
        serve,
        shards,
    ):
        name = command.__name__
        group.command(name, cls=Command, epilog=example(f"bench {name}"))(command)
    return group


def head(
    repeats: Annotated[int, typer.Option(min=1, help="Launches a median is taken of.")] = 40,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the baselines and the largest batch.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure the fused SPLADE head against PyTorch, on a GPU."""
    if json and out is not None:
        raise typer.BadParameter("give --json or --out, one of the two")
    require("encode", "gpu")
    _require_cuda()
    from tamis.scripts.bench.head import bench_head, measure_head

    if json:
        print_json(measure_head(repeats, quick=quick))
    else:
        bench_head(out, repeats, quick=quick)


def encode(
    documents: Annotated[int, typer.Option(min=48, help="Texts a turn encodes.")] = 256,
    encoder: Annotated[
        str, typer.Option(help="A masked language model, by name or folder.")
    ] = "default",
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; the first CUDA device where there is one.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="Texts to encode; a mix made from the sample if none.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Turns a median is taken of.")] = 5,
    quality: Annotated[
        bool, typer.Option(help="On the CPU, compare nDCG@10 with that of float32.")
    ] = True,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Beside OpenVINO and onnxruntime in int8, and the roofline."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure the encoder against sentence-transformers.

    Both have the same model and texts.
    """
    if int8:
        if device not in (None, "cpu") or corpus is not None:
            raise typer.BadParameter("--int8 is of the processor and of texts made from the sample")
        require("encode", "eval")
        from tamis.scripts.bench.encode_int8 import measure_int8
        from tamis.scripts.bench.encode_int8 import table as lines_of

        found = measure_int8(documents, encoder=encoder, repeats=repeats)
    else:
        require("encode", "eval", "hybrid")
        import torch

        from tamis.scripts.bench.encode import measure_encode
        from tamis.scripts.bench.encode import table as lines_of

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        found = measure_encode(
            documents,
            encoder=encoder,
            device=device,
            corpus=corpus,
            repeats=repeats,
            quality=quality,
        )
    if out is not None:
        out.write_text(dumps(found, indent=1) + "\n")
    if json:
        print_json(found)
        return
    for line in lines_of(found):
        typer.echo(line)


def agreement(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="As for `tamis eval`; sample ships.")
    ] = "sample",
    encoder: Annotated[str, typer.Option(help="A language model, by name or folder.")] = "default",
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; the first CUDA device where there is one.")
    ] = None,
    documents: Annotated[
        int | None, typer.Option(min=1, help="Compare so many vectors alone, no ranking.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(callback=in_a_folder, help="Write the figures to this JSON file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare a device's vectors with the processor's.

    Exits with 1 where they differ beyond the bounds.
    """
    require("encode", "eval")
    import torch

    from tamis.scripts.bench.agreement import measure_agreement, table

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    found = measure_agreement(dataset, encoder=encoder, device=device, documents=documents)
    if out is not None:
        out.write_text(dumps(found, indent=1) + "\n")
    if json:
        print_json(found)
    else:
        typer.echo(aligned(table(found)))
    if not found["agrees"]:
        raise typer.Exit(1)


def vectors(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where vectors are kept.")],
    documents: Annotated[
        Path, typer.Option(help="A corpus to encode as it is, for the gate to compare with.")
    ],
    questions: Annotated[Path, typer.Option(help="Questions to ask, one a line.")],
    passages: Annotated[
        list[Path] | None, typer.Option(help="More corpora for sentence windows; several times.")
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(help="Long queries: JSON lines of a vector, pieces with impacts, each."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; CUDA where there is any.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Encode texts and sentence windows to measure searches with.

    Goes on where it was.
    """
    require("encode")
    import torch

    from tamis.scripts.bench.made_vectors import make_vectors

    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    corpora = [documents, *(passages or [])]
    made = make_vectors(folder, documents, corpora, questions, published, chosen, _tell)
    if json:
        print_json(made)
        return
    for name, shape in made.items():
        typer.echo(f"{name:10} {shape['rows']:10} vectors, {shape['nnz']} entries")


def gate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of `tamis bench vectors`.")
    ],
    queries: Annotated[int, typer.Option(min=10, help="Queries to ask.")] = 500,
    trust_memory: Annotated[
        bool, typer.Option("--trust-memory", help="Go on though the machine tells too little.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(callback=in_a_folder, help="Write the figures to this JSON file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare composed vectors with real ones.

    Figures of composed vectors count where they are alike; exits with 1 where not.
    """
    require("eval")
    from tamis.scripts.bench.gate import measure_gate

    found = measure_gate(folder, queries, _tell, trust_memory)
    if out is not None:
        out.write_text(dumps(found, indent=1) + "\n")
    if json:
        print_json(found)
    else:
        for row in found["agreements"]:
            sign = "agrees" if row["agrees"] else "DIFFERS"
            typer.echo(f"{row['what']:48} {row['real']!s:>24} {row['composed']!s:>24} {sign}")
    if not found["passes"]:
        raise typer.Exit(1)


def search(
    documents: Annotated[
        int, typer.Option(min=100, help="Documents to draw, or to compose of --made.")
    ] = 100_000,
    queries: Annotated[int, typer.Option(min=10, help="Queries to ask.")] = 500,
    index: Annotated[
        Path | None, typer.Option(help="Take the vectors of this collection instead.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="Questions to ask --index, one a line.")
    ] = None,
    lexical_weight: Annotated[
        float | None, typer.Option(min=0.0, help="Factor on the words of questions; 0: no words.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Take these vectors instead, .safetensors or .npz.")
    ] = None,
    asked: Annotated[
        Path | None, typer.Option(help="Vectors of questions to ask --vectors.")
    ] = None,
    made: Annotated[
        Path | None,
        typer.Option(help="Compose documents of a folder of `tamis bench vectors`; tuned peers."),
    ] = None,
    real: Annotated[
        bool, typer.Option("--real", help="With --made: its real passages, none composed.")
    ] = False,
    trust_memory: Annotated[
        bool, typer.Option("--trust-memory", help="With --made: go on though memory seems small.")
    ] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Turns that a minimum is taken of.")] = 5,
    precision: Annotated[
        Literal["u8", "u16", "f16", "f32"], typer.Option(help="How the index stores weights.")
    ] = "f32",
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option(help="cuda: exact search of --documents on a GPU.")
    ] = "cpu",
    cards: Annotated[int, typer.Option(min=1, help="GPUs for --device cuda.")] = 1,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep the index of --device cuda here, or take it from here."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure the index against the peers that are installed.

    Behind a gate of correctness.
    """
    require("eval")
    if device == "cuda":
        require("encode", "gpu")
        from tamis.scripts.bench.gpu_search import measure_gpu_search

        on_gpu = measure_gpu_search(documents, folder, cards)
        if out is not None:
            out.write_text(dumps(on_gpu, indent=1) + "\n")
        typer.echo(dumps(on_gpu, indent=1))
        return
    if made is not None:
        _at_size(made, None if real else documents, queries, trust_memory, out, json)
        return
    from tamis.scripts.bench.search import from_collection, from_vectors, measure_search, synthetic

    if (index is None) != (questions is None) or (vectors is None) != (asked is None):
        raise typer.BadParameter("give --index and --questions, or --vectors and --asked, or none")
    if index is not None and vectors is not None:
        raise typer.BadParameter("give --index or --vectors, one of the two")
    if index is not None and questions is not None:
        work = from_collection(index, questions, queries, lexical_weight)
    elif vectors is not None and asked is not None:
        work = from_vectors(vectors, asked, queries)
    else:
        work = synthetic(documents, queries)
    found = measure_search(work, repeats=repeats, precision=precision)
    if out is not None:
        out.write_text(dumps(found, indent=1) + "\n")
    if json:
        print_json(found)
        return
    for row in found["engines"]:
        typer.echo(
            f"{row['engine']:14} {row['setting']:36} recall {row['recall']:.4f} "
            f"{row['cpu_us_per_query']:10.1f} us a query"
        )
    for built in found["built"]:
        size = human_bytes(built["size_bytes"])
        typer.echo(f"{built['name']:14} built in {built['build_cpu_s']:.1f} CPU s, {size}")


def _at_size(
    made: Path,
    documents: int | None,
    queries: int,
    trust_memory: bool,
    out: Path | None,
    json: bool,
) -> None:
    from tamis.scripts.bench.at_size import measure_composed, measure_real

    if documents is None:
        found = measure_real(made, queries, _tell, trust_memory)
    else:
        found = measure_composed(made, documents, queries, _tell, trust_memory)
    if out is not None:
        out.write_text(dumps(found, indent=1) + "\n")
    if json:
        print_json(found)
        return
    for row in found["best"]:
        reached = f"{row['us']:10.1f} us, {row['setting']}" if row["us"] else "not reached"
        typer.echo(
            f"{row['kind']:6} k {row['k']:5} {row['level']!s:6} {row['engine']:24} {reached}"
        )


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def precision(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET", help="As for `tamis eval`.")],
    encoder: Annotated[
        str, typer.Option(help="Of documents and queries, by name or folder.")
    ] = "default",
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure ranking with weights stored as u8, u16, f16 and f32."""
    require("encode", "eval")
    from tamis.scripts.bench.precision import PRECISIONS, measure_precision

    found = measure_precision(datasets, encoder)
    if out is not None:
        out.write_text(dumps(found, indent=1) + "\n")
    if json:
        print_json(found)
        return
    for row in found["rows"]:
        values = "  ".join(f"{name} {row[name]:.4f}" for name in PRECISIONS)
        typer.echo(f"{row['dataset']:16} {row['system']:16} {found['measure']}  {values}")


def rerank(
    repeats: Annotated[int, typer.Option(min=1, help="Launches a median is taken of.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure block attention against PyTorch's, on a GPU."""
    require("encode", "gpu")
    _require_cuda()
    from tamis.scripts.bench.rerank import bench_rerank

    found = bench_rerank(repeats)
    if out is not None:
        out.write_text(dumps(found, indent=1) + "\n")
    if json:
        print_json(found)
        return
    for row in [*found["attention"], found["training"], *found["mistral"]]:
        typer.echo("  ".join(f"{name} {value}" for name, value in row.items()))


def serve(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    queries: Annotated[Path, typer.Option(help="JSON lines with a text each, as queries.jsonl.")],
    clients: Annotated[
        str, typer.Option(help="Numbers of connections, with commas.")
    ] = "1,4,12,24",
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 10.0,
    peer: Annotated[
        str | None, typer.Option(help="URL of another server's search, {query} in it.")
    ] = None,
    peer_body: Annotated[
        str | None, typer.Option(help="JSON to post there, {query} standing for the text.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure a server under load, against the call and a peer."""
    require("serve", "eval")
    from tamis.scripts.bench.serve import measure_serve

    try:
        numbers = [int(number) for number in clients.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"expected numbers such as 1,12 as --clients, found {clients!r}"
        ) from None
    found = measure_serve(
        folder, queries, clients=numbers, seconds=seconds, peer=peer, peer_body=peer_body
    )
    if out is not None:
        out.write_text(dumps(found, indent=1) + "\n")
    if json:
        print_json(found)
        return
    typer.echo(
        f"library call: p50 {found['library']['p50_ms']} ms; over HTTP "
        f"{found['http_overhead_p50_ms']} ms more"
    )
    for row in [*found["load"], found["overload"]["over"], found["overload"]["after_at_half"]]:
        typer.echo(
            f"{row['server']:24} {row['clients']:4} clients {row['requests_per_s']:9.1f}/s  "
            f"p50 {row['p50_ms']:8.3f} ms  p99 {row['p99_ms']:8.3f} ms  {row['statuses']}"
        )


def shards(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `tamis index`.")],
    queries: Annotated[Path, typer.Option(help="JSON lines with a text each, as queries.jsonl.")],
    number: Annotated[int, typer.Option("--shards", min=1, help="How many.")] = 2,
    clients: Annotated[int, typer.Option(min=1, help="Connections under load.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 5.0,
    turns: Annotated[int, typer.Option(min=1, help="Measurements a median is taken of.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure a broker before shards, against one server."""
    require("broker", "serve", "eval")
    from tamis.scripts.bench.shards import measure_shards

    found = measure_shards(
        folder, queries, shards=number, clients=clients, seconds=seconds, turns=turns
    )
    if out is not None:
        out.write_text(dumps(found, indent=1) + "\n")
    if json:
        print_json(found)
        return
    for row in found["alone"]:
        typer.echo(f"one request at a time  {row['server']:12} p50 {row['p50_ms']:8.3f} ms")
    typer.echo(
        f"goal for the broker: at most {found['goal_p50_ms']} ms (1.2 times the slowest shard, "
        "plus 0.5)"
    )
    for row in found["load"]:
        typer.echo(
            f"{found['clients']} clients  {row['server']:12} {row['requests_per_s']:9.1f}/s  "
            f"p99 {row['p99_ms']:8.3f} ms"
        )
    typer.echo(f"share of one server's requests a second: {found['share']} (goal 0.35)")


def _require_cuda() -> None:
    import torch

    from tamis.index.errors import InputError

    if not torch.cuda.is_available():
        raise InputError(
            "expected a CUDA device, found none; run this on a machine with one, and "
            "`tamis doctor` shows what torch sees"
        )
