"""The configuration of a training: TOML in, frozen records out; unknown keys are errors.

Each section of the file is one record below, and each default is what the recipes start from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tamis.retriever.models.head_kinds import HeadKind
from tamis.retriever.training.records import Later  # noqa: TC001  read_record reads annotations


class Penalty(StrEnum):
    """Which regulariser keeps documents sparse; formulas in `regularisers`."""

    FLOPS = "flops"
    L1 = "l1"
    DF_FLOPS = "df_flops"
    IDF_FLOPS = "idf_flops"


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
        listed: fields of a JSON line, each a passage or a list of them, that are candidates for the
            query beside its passage: hard negatives, or whatever ``scores`` says.
        scores: field with one number for each listed passage, a teacher's (``loss.cached``).
        triples: file in a BEIR folder whose lines are ids, separated by tabs: a query, a passage
            that answers it, and any number of hard negatives.
    """

    path: str
    query: tuple[str, ...] = ()
    passage: tuple[str, ...] = ()
    split: str = "train"
    limit: int | None = None
    judged: bool = True
    exclude: tuple[str, ...] = ()
    holdout: float = 0.0
    listed: Later[tuple[str, ...]] = ()
    scores: Later[str] = ""
    triples: Later[str] = ""


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
        dev_queries: at most this many queries of each, chosen by the seed; None takes all.
        prepared: folder of prepared texts; made if it does not exist.
    """

    sources: tuple[SourceConfig, ...]
    passage_tokens: int = 160
    query_tokens: int = 48
    invented_queries: int = 1
    dev: tuple[str, ...] = ()
    dev_passages: int = 20_000
    prepared: str = "build/train-data"
    dev_queries: Later[int | None] = None


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """A model that encodes texts.

    Attributes:
        base: encoder to start from, by folder, hub name, or ``default``.
        double_log: log1p(log1p(relu(x))) in place of log1p(relu(x)), of heads over the vocabulary.
        head: on top of the base; one that the base lacks starts at random.
        echo: texts are read twice and the second reading counts (of decoders, which see backwards).
        bidirectional: of decoders; every token sees every other.
        lora_rank: train low-rank differences to a frozen base (peft); 0 trains the base.
    """

    base: str = "default"
    double_log: bool = True
    head: Later[HeadKind] = HeadKind.MAX
    echo: Later[bool] = False
    bidirectional: Later[bool] = False
    lora_rank: Later[int] = 0


@dataclass(frozen=True, slots=True)
class ModelConfig(EncoderConfig):
    """What is trained: the document side, and how queries are made.

    Attributes:
        query_table: queries are looked up in a table; else a model encodes them.
        table_learned: the table is trained; else it stays as it starts.
        table_power: the table starts from this power of the inverse document frequencies; 0 starts
            every term at one.
        table_from_base: the table starts from the query weights of the base instead, which has them
            when it is an earlier portable checkpoint of the same training.
        query: the model that encodes queries, where it is not that of the documents.
    """

    query_table: bool = True
    table_learned: Later[bool] = True
    table_power: Later[float] = 1.0
    table_from_base: Later[bool] = False
    query: Later[EncoderConfig | None] = None


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
        checkpointing: hold the activations between layers only, and make the others twice.
        negatives: in place of clusters, groups of a query's passage and this many of its hard
            negatives; see `MiningConfig`.
    """

    passages: int = 1024
    queries: int = 2048
    cluster: int = 64
    random_share: float = 0.25
    judged_share: float = 0.3
    chunk: int = 256
    recompute: bool = False
    checkpointing: Later[bool] = False
    negatives: Later[int] = 0


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
        sparse: weight of the sparse teacher in the ensemble.
        sparse_teacher: encoder of the sparse teacher.
        cached: weight of the scores that came with the sources; a pair without one counts as the
            least of its query.
    """

    kl: float = 1.0
    contrastive: float = 0.0
    margin_mse: float = 0.0
    dense: float = 0.6
    bm25: float = 0.4
    judged: float = 0.3
    scale: float = 30.0
    dense_teacher: str = ""
    sparse: Later[float] = 0.0
    sparse_teacher: Later[str] = ""
    cached: Later[float] = 0.0


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
        query_weight: like ``weight``, of the same penalty on queries that a model encodes.
        pair_weight: of the terms that queries and documents share (joint FLOPS).
        anti_zero: weight of one over the squared sum of weights, against vanishing.
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
    query_weight: Later[float] = 0.0
    pair_weight: Later[float] = 0.0
    anti_zero: Later[float] = 0.0


@dataclass(frozen=True, slots=True)
class MiningConfig:
    """Where hard negatives come from: best ranked, and not judged to answer.

    Attributes:
        every: steps between minings, the first before the first step; 0 never mines.
        student: ask the model in training, through an index of Tamis.
        bm25: ask stemmed BM25, through an index of Tamis.
        dense: ask the dense teacher, through faiss.
        depth: passages that each is asked for.
        skip: of them, the first ones left out.
        margin: a passage that the dense teacher scores above this share of what it gives the
            query's own passage is taken for an answer and left out.
    """

    every: int = 0
    student: bool = True
    bm25: bool = True
    dense: bool = True
    depth: int = 50
    skip: int = 0
    margin: float = 0.95


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
        warmup_steps: until the rate is reached; also after a start from a portable checkpoint.
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
        wandb: also log to this project of Weights & Biases.
        sentence_transformers: also write the model as a SparseEncoder of sentence-transformers.
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
    wandb: str = ""
    sentence_transformers: bool = False


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
    mining: Later[MiningConfig] = MiningConfig()
