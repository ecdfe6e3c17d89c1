"""The configuration of a training: TOML in, frozen records out; unknown keys are errors.

Each section of the file is one record below, and each default is what the recipes start from.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from tamis.index.errors import InputError

Record = TypeVar("Record")


class Penalty(StrEnum):
    """Which regulariser keeps documents sparse; formulas in `regularisers`."""

    FLOPS = "flops"
    L1 = "l1"
    DF_FLOPS = "df_flops"


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One file or folder of training texts; see `sources`.

    Attributes:
        path: relative to the folder of data.
        query: fields of a JSON line that make the query, joined by spaces.
        passage: fields that make the passage.
        split: of a BEIR folder's judgements.
        limit: take this many rows, chosen by the seed; None takes all.
        judged: the query's passage answers it; else it only stands near it (a title, a heading).
        exclude: tags of a ``.tsv`` of queries that are left out.
        holdout: share of the passages, with their queries, that is never trained on.
    """

    path: str
    query: tuple[str, ...] = ()
    passage: tuple[str, ...] = ()
    split: str = "train"
    limit: int | None = None
    judged: bool = True
    exclude: tuple[str, ...] = ()
    holdout: float = 0.0


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What is trained on.

    Attributes:
        sources: where texts come from.
        passage_tokens: passages are cut there, special ids included.
        query_tokens: queries are cut there.
        invented_queries: this many queries are cut out of each passage.
        dev: BEIR folders with a split of judgements to validate on, as ``path:split``.
        dev_passages: at most this many passages of each, those that are judged first.
        prepared: folder of prepared texts; made if it does not exist.
    """

    sources: tuple[SourceConfig, ...]
    passage_tokens: int = 160
    query_tokens: int = 48
    invented_queries: int = 1
    dev: tuple[str, ...] = ()
    dev_passages: int = 20_000
    prepared: str = "build/train-data"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What is trained.

    Attributes:
        base: encoder to start from, by folder, hub name, or ``default``.
        double_log: log1p(log1p(relu(x))) in place of log1p(relu(x)).
        query_table: queries are looked up in a learned table; else the model encodes them.
    """

    base: str = "default"
    double_log: bool = True
    query_table: bool = True


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """How a batch is put together.

    Attributes:
        passages: in a batch; every query is scored against all of them.
        queries: at most this many in a batch.
        cluster: passages to a cluster of similar ones; 0 draws all at random.
        random_share: share of a batch's passages drawn at random beside the clusters.
        judged_share: share of the clusters that form around a judged passage.
        chunk: passages that go through the model together.
        recompute: encode each chunk twice to hold one chunk's activations only (GradCache).
    """

    passages: int = 1024
    queries: int = 2048
    cluster: int = 64
    random_share: float = 0.25
    judged_share: float = 0.3
    chunk: int = 256
    recompute: bool = False


@dataclass(frozen=True, slots=True)
class LossConfig:
    """What the student learns from; each weight may be 0.

    Attributes:
        kl: weight of the Kullback-Leibler divergence from the teachers' distribution.
        contrastive: weight of InfoNCE on judged passages.
        margin_mse: weight of the squared error of margins against the teachers'.
        dense: weight of the dense teacher in the ensemble.
        bm25: weight of stemmed BM25 in the ensemble.
        judged: added to the ensemble's score of a judged passage.
        scale: of the ensemble, whose scores lie between 0 and 1, before the softmax.
        dense_teacher: encoder whose mean-pooled hidden states are the dense teacher; empty means
            the base model before training.
    """

    kl: float = 1.0
    contrastive: float = 0.0
    margin_mse: float = 0.0
    dense: float = 0.6
    bm25: float = 0.4
    judged: float = 0.3
    scale: float = 30.0
    dense_teacher: str = ""


@dataclass(frozen=True, slots=True)
class LexicalChannelConfig:
    """The words that the student's score holds beside what it learns.

    Attributes:
        weight: of stemmed BM25 in the student's score at the start; it is learned. 0: no channel.
        alone: share of the loss that judges the learned terms without them.
    """

    weight: float = 0.3
    alone: float = 0.4


@dataclass(frozen=True, slots=True)
class SparsityConfig:
    """How many terms a document has.

    Attributes:
        penalty: kind of regulariser.
        weight: its largest weight; grows with the square of the step.
        warmup_share: share of the steps after which the weight is reached.
        l0_mask: documents with at most this many terms are not penalised.
        target_terms: the weight is steered so that documents have this many; 0 leaves it alone.
        dense_share: share of the steps before only the heaviest terms count.
        top_start: how many count then,
        top_end: and how many at the end,
        top_least: and at least, drawn for each batch between this and the number due.
        falling_until: share of the steps after which ``top_end`` is reached.
    """

    penalty: Penalty = Penalty.FLOPS
    weight: float = 1e-3
    warmup_share: float = 0.33
    l0_mask: int = 0
    target_terms: int = 0
    dense_share: float = 0.2
    top_start: int = 400
    top_end: int = 200
    top_least: int = 100
    falling_until: float = 0.6


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """AdamW with a linear warm-up and a cosine decay, by step.

    Attributes:
        steps: batches in all.
        rate: learning rate of the model.
        head_rate: of the head's transform and bias.
        table_rate: of the query table, temperatures and channel weight. A table that moves far from
            the inverse document frequencies it starts from suits the training queries better and
            all others worse.
        warmup_steps: until the rate is reached, and again after each resumption of a leg.
        weight_decay: of matrices.
        clip: largest norm of the gradient.
        averaging: decay of the running average of weights that is saved; 0 saves the last.
        start_share: share of the weights before training in what is saved: less fitted to the
            training's own domains, better in others (Wortsman et al., arXiv 2109.01903).
    """

    steps: int
    rate: float = 2e-4
    head_rate: float = 1e-3
    table_rate: float = 1e-2
    warmup_steps: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    averaging: float = 0.999
    start_share: float = 0.0


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What happens beside the training.

    Attributes:
        out: folder of the trained model, its checkpoints and its log.
        seed: of everything drawn.
        log_steps: between lines of the log.
        save_steps: between checkpoints.
        dev_steps: between validations.
        patience: validations without a better one before training ends; 0 never ends early.
        compiled: compile the model (worth it from a few hundred steps on a GPU).
        tensorboard: also write TensorBoard's files.
        portable: checkpoints are float16 weights in small files, without the optimiser.
    """

    out: str
    seed: int = 1
    log_steps: int = 50
    save_steps: int = 2000
    dev_steps: int = 1000
    patience: int = 0
    compiled: bool = False
    tensorboard: bool = False
    portable: bool = False


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A whole training."""

    data: DataConfig
    optimiser: OptimiserConfig
    run: RunConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    lexical: LexicalChannelConfig = field(default_factory=LexicalChannelConfig)
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)


def read_config(path: str | Path) -> TrainingConfig:
    """Read a configuration.

    Raises:
        InputError: no such file, not TOML, or a key or value that is not one (named, with the
            nearest that is).
    """
    try:
        table = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected a training configuration in TOML, found none ({error}); "
            "start from one of scripts/recipes"
        ) from error
    config = _record(TrainingConfig, table, str(path), "")
    _check(config, str(path))
    return config


def _record(kind: type[Record], table: Any, path: str, section: str) -> Record:  # noqa: ANN401
    """One record of a section; ``section`` ends with a dot where it is not the whole file."""
    hints = get_type_hints(kind)
    if not isinstance(table, dict):
        raise InputError(f"{path}: expected a table [{section[:-1]}], found {table!r}")
    for key in table:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1, 0.4)
            remedy = f"did you mean {section}{near[0]}?" if near else f"keys: {', '.join(hints)}"
            raise InputError(f"{path}: expected keys of a training, found {section}{key}; {remedy}")
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]
        missing = one.default is dataclasses.MISSING
        if missing and one.default_factory is dataclasses.MISSING and one.name not in table:
            raise InputError(f"{path}: expected {section}{one.name}, found nothing; add it")
    values = {
        key: _value(hints[key], value, path, f"{section}{key}") for key, value in table.items()
    }
    return kind(**values)


def _value(hint: Any, value: Any, path: str, name: str) -> Any:  # noqa: ANN401  TOML is anything
    if get_origin(hint) in (Union, types.UnionType):
        hint = get_args(hint)[0]  # `int | None`: None cannot be written in TOML
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise InputError(f"{path}: expected {name} to be a list, found {value!r}")
        return tuple(_value(get_args(hint)[0], one, path, name) for one in value)
    if dataclasses.is_dataclass(hint):
        return _record(hint, value, path, f"{name}.")  # type: ignore[arg-type]
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _member(hint, value, path, name)
    if type(value) is not hint:
        raise InputError(f"{path}: expected {name} to be {hint.__name__}, found {value!r}")
    return value


def _member(hint: type[StrEnum], value: Any, path: str, name: str) -> StrEnum:  # noqa: ANN401
    if value not in list(hint):
        raise InputError(f"{path}: expected {name} to be one of {', '.join(hint)}, found {value!r}")
    return hint(value)


def _check(config: TrainingConfig, path: str) -> None:
    """Refuse numbers that make no sense."""
    shares = {
        "batch.random_share": config.batch.random_share,
        "batch.judged_share": config.batch.judged_share,
        "lexical.alone": config.lexical.alone,
        "optimiser.start_share": config.optimiser.start_share,
        "sparsity.dense_share": config.sparsity.dense_share,
        "sparsity.falling_until": config.sparsity.falling_until,
        "sparsity.warmup_share": config.sparsity.warmup_share,
    }
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InputError(f"{path}: expected {name} from 0 to 1, found {share}")
    counts = {
        "optimiser.steps": config.optimiser.steps,
        "batch.passages": config.batch.passages - 1,
        "batch.queries": config.batch.queries,
        "batch.chunk": config.batch.chunk,
        "run.log_steps": config.run.log_steps,
        "run.save_steps": config.run.save_steps,
        "run.dev_steps": config.run.dev_steps,
    }
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{path}: expected {name} of at least 1 (passages: 2), found too few")
    if not (config.loss.kl or config.loss.contrastive or config.loss.margin_mse):
        raise InputError(f"{path}: expected a loss with a weight above 0, found none; set loss.kl")
