"""The recipe of a reranker: a configuration and texts in, a folder that can be loaded out.

Lists are mined with the bi-encoder that the reranker begins as. The prepared texts are those of an
encoder's training; `students`, `mining` and `trainer` do the work.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from transformers import BertModel

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.description import find_folder, read_checkpoint
from tamis.retriever.models.encoder import choose_device
from tamis.retriever.models.language_model import load_headless, load_whole_model
from tamis.retriever.models.tokenizer import Tokenizer
from tamis.retriever.rerank.backbone import Backbone, check_positions
from tamis.retriever.rerank.layout import BlockSizes
from tamis.retriever.rerank.loading import RerankerSettings
from tamis.retriever.rerank.prompt import ENCODER, PromptBuilder
from tamis.retriever.training.config import DataConfig  # noqa: TC001  read_record reads annotations
from tamis.retriever.training.data.training_data import Pairs, TrainingData, load_or_prepare
from tamis.retriever.training.processes import check_alone
from tamis.retriever.training.records import identity, read_record
from tamis.retriever.training.reranker.keeping import Kept
from tamis.retriever.training.reranker.mining import mine, vectors, word_weights
from tamis.retriever.training.reranker.objective import LearnedReadout
from tamis.retriever.training.reranker.saving import WORDS, bundled_embeddings, save_reranker
from tamis.retriever.training.reranker.starting_model import start_from_bi_encoder
from tamis.retriever.training.reranker.students import BlockStudent, CrossStudent, PackedModel
from tamis.retriever.training.reranker.trainer import ListData, ListTrainer, ListTraining

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LOG, MODEL, CHECKPOINTS = "log.jsonl", "model", "checkpoints"
ADJUSTABLE = ("rate", "new_rate", "save_steps", "teacher")  # when a training on lists goes on
KNOWN = 16  # of the passages that answer a query, those that are never mined for it


@dataclass(frozen=True, slots=True)
class RerankerConfig:
    """What is trained, and where it goes.

    Attributes:
        base: a BERT that embeds texts by the mean of its states: an encoder of Tamis over one, or a
            dense model of sentence-transformers.
        out: folder of the model and of the log.
        name: as reports print it.
        licence: of the weights.
        sizes: the most tokens of each block.
        sharpness: factor of the scoring layer's queries and of its keys, at the start.
        head_weight: weight of each head at the start.
        prior_query: weight of the first stage's score where documents read the query,
        prior_none: and where they do not; chosen on development data, not learned.
        null_query: weight of the scores under an empty query that are taken off, likewise,
        null_none: and where documents do not read the query.
        mined: candidates of each query by cosine, and as many more by BM25.
        unlabelled: how often a question without a passage is drawn, against 1 for a judged pair.
        invented: how often a pair is drawn that nobody judged, such as a title and its text.
        start_share: share of the starting weights in those that are saved: less fitted to the
            training texts, often better on others (Wortsman et al., 2022, "Robust fine-tuning of
            zero-shot models"); chosen on development data, not learned.
        shared_embeddings: save int8 rows without the word embeddings, which are then the bundled
            encoder's, and accept its matrix up to this far from today's; 0 saves a whole model.
    """

    base: str
    out: str
    name: str = ""
    licence: str = ""
    sizes: BlockSizes = field(default_factory=BlockSizes)
    sharpness: float = 1.5
    head_weight: float = 4.0
    prior_query: float = 0.0
    prior_none: float = 0.0
    null_query: float = 0.0
    null_none: float = 0.0
    mined: int = 16
    unlabelled: float = 1.0
    invented: float = 1.0
    start_share: float = 0.0
    shared_embeddings: float = 0.0


@dataclass(frozen=True)
class TaughtTraining(ListTraining):
    """One training of the reranker.

    Attributes:
        teacher: how a cross-encoder is trained first, from the same weights on the same lists, to
            teach the reranker beside the mined scores; None for those alone.
    """

    teacher: ListTraining | None = None


@dataclass(frozen=True, slots=True)
class RerankerRecipe:
    """All that makes a reranker.

    Attributes:
        data: the texts.
        reranker: what is trained.
        trainings: how, one after the other and each from the start; the mean of their weights is
            saved (Wortsman et al., 2022, "Model soups"). Their ``conditionings``, the same in all,
            are the modes that the reranker will have.
    """

    data: DataConfig
    reranker: RerankerConfig
    trainings: tuple[TaughtTraining, ...]


def is_reranker_recipe(path: str | Path) -> bool:
    """Whether a TOML file has a section ``[reranker]``; False where it cannot be read."""
    try:
        return "reranker" in tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return False


def read_recipe(path: str | Path) -> RerankerRecipe:
    """Read a recipe.

    Raises:
        InputError: no such file, not TOML, or a key or value that is not one.
    """
    recipe = read_record(RerankerRecipe, path)
    if len({one.conditionings for one in recipe.trainings}) != 1:
        raise InputError(
            f"{path}: expected one training or more, of equal conditionings, found "
            f"{[list(one.conditionings) for one in recipe.trainings]}; make them equal"
        )
    teachers = [one.teacher for one in recipe.trainings if one.teacher is not None]
    documents = max(one.documents for one in (*recipe.trainings, *teachers))
    if 2 * recipe.reranker.mined < documents:
        raise InputError(
            f"{path}: expected at least {documents} candidates of a query for "
            f"lists of so many documents, found 2 * {recipe.reranker.mined}; raise reranker.mined"
        )
    return recipe


def train_reranker(
    recipe: RerankerRecipe,
    root: Path,
    *,
    resume: bool = False,
    device: str | None = None,
    report: Callable[[dict[str, Any]], None] = lambda line: None,
) -> Path:
    """Train a reranker and return its folder, which `BlockReranker.from_pretrained` reads.

    Args:
        recipe: what to do.
        root: folder that the paths of data start from.
        resume: go on from the checkpoints in ``reranker.out``.
        device: such as ``cpu`` or ``cuda:0``; None takes CUDA where there is a device.
        report: called with each line of the log.

    Raises:
        InputError: a source, the base or the device is not there, there are too few passages, or
            this is one of several processes.
        FormatError, MismatchError: prepared data or checkpoints are not this recipe's.
        TrainingError: a loss or weights are not finite; the checkpoint is of before.
    """
    check_alone("a training of a reranker")
    _check_checkpoints(Path(recipe.reranker.out), resume=resume)
    where, config = choose_device(device), recipe.reranker
    base, tokenizer = _load_base(config)
    words = bundled_embeddings(base.config) if config.shared_embeddings else None
    prepared, seed = Path(recipe.data.prepared), recipe.trainings[0].seed
    texts = load_or_prepare(recipe.data, tokenizer, root, prepared, seed)
    data = mined_lists(texts, PackedModel(base.to(where).eval()), tokenizer, config)
    if words is not None:
        base.load_state_dict(base.state_dict() | {WORDS: words})
    student = _student(base, tokenizer, recipe).to(where)
    folder = Path(config.out) / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    with (Path(config.out) / LOG).open(
        "a" if resume else "w", encoding="utf-8", buffering=1
    ) as log:

        def write(line: dict[str, Any]) -> None:
            log.write(json.dumps(line) + "\n")
            report(line)

        _train(student, _Teachers(base, _around(tokenizer), config.sizes), data, recipe, write)
    save_reranker(folder, student.backbone.model, tokenizer, _settings(student, config))
    return folder


def _check_checkpoints(out: Path, *, resume: bool) -> None:
    """Refuse to go on from nothing; a training that starts anew keeps no older checkpoint."""
    folder = out / CHECKPOINTS
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    elif not folder.is_dir():
        raise FormatError(
            f"{folder}: expected checkpoints of a training to go on from, found none; "
            "train without --resume"
        )


def mined_lists(
    texts: TrainingData, model: PackedModel, tokenizer: Tokenizer, config: RerankerConfig
) -> ListData:
    """The lists that can be drawn from prepared texts: one for each pair and lone question.

    Raises:
        InputError: there are fewer passages than a query has candidates.
    """
    asked, positives = labelled_lists(texts.pairs, len(texts.queries))
    needed = 2 * config.mined + positives.shape[1]
    if len(texts.passages) < needed:
        raise InputError(
            f"expected at least {needed} passages to mine from, found {len(texts.passages)}; add "
            "sources or lower reranker.mined"
        )
    queries, around, device = texts.queries.take(asked), _around(tokenizer), model.model.device
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        dense = vectors(model, texts.passages, around)
        query_vectors = vectors(model, texts.queries, around)[torch.from_numpy(asked).to(device)]
    words = word_weights(texts.passages, model.model.config.vocab_size, device)
    found = mine(queries, positives, (dense, words), query_vectors, config.mined)
    lone = len(asked) - len(texts.pairs)
    drawn = np.where(texts.pairs.judged, 1.0, config.invented)
    weights = np.concatenate([drawn, np.full(lone, config.unlabelled)])
    return ListData(queries, texts.passages, found, weights)


def labelled_lists(pairs: Pairs, queries: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A list for each pair, and one for each query without any.

    Args:
        pairs: who belongs to whom, queries rising.
        queries: how many there are.

    Returns:
        The query of each list, and its labelled passages ``[lists, most]``: the pair's own first,
        then others of its query, at most `KNOWN` in all, -1 where there are fewer.
    """
    lone = np.setdiff1d(np.arange(queries), pairs.queries)
    asked = np.concatenate([pairs.queries, lone]).astype(np.int64)
    counts = np.bincount(pairs.queries, minlength=queries)
    found = np.full((len(asked), min(KNOWN, max(1, int(counts.max(initial=1))))), -1, np.int64)
    first = np.concatenate([[0], np.cumsum(counts)])[pairs.queries]
    for column in range(found.shape[1]):
        size = counts[pairs.queries]
        at = first + (np.arange(len(pairs)) - first + column) % size
        found[: len(pairs), column] = np.where(column < size, pairs.passages[at], -1)
    return asked, found


def _load_base(config: RerankerConfig) -> tuple[Any, Tokenizer]:
    """A `BertModel` and its tokenizer."""
    folder = find_folder(config.base)
    dense = (folder / "1_Pooling").is_dir()
    model: Any = load_headless(folder) if dense else _encoder_base(config.base)
    if not isinstance(model, BertModel):
        raise InputError(
            f"{config.base}: expected a BERT to start a reranker from, found "
            f"{type(model).__name__}; choose another reranker.base"
        )
    check_positions(model.config, config.sizes)
    return model, Tokenizer.load(folder, model.config.max_position_embeddings)


def _encoder_base(name: str) -> Any:  # noqa: ANN401  any Hugging Face backbone
    return load_whole_model(read_checkpoint(name).document, torch.float32).base_model


def _student(base: Any, tokenizer: Tokenizer, recipe: RerankerRecipe) -> BlockStudent:  # noqa: ANN401  a BertModel
    """The block reranker that scores as the bi-encoder does; its word embeddings stay frozen."""
    config, layers = recipe.reranker, base.config.num_hidden_layers
    model = start_from_bi_encoder(base.state_dict(), base.config, config.sizes, config.sharpness)
    model.embeddings.word_embeddings.weight.requires_grad_(False)
    heads = base.config.num_attention_heads
    readout = LearnedReadout(heads, config.head_weight, recipe.trainings[0].conditionings)
    prompts = PromptBuilder(tokenizer.backend, ENCODER, config.sizes)
    return BlockStudent(Backbone(model, layers, layers), prompts, readout)


class _Teachers(NamedTuple):
    """What cross-encoders are made of."""

    base: Any  # a BertModel
    around: tuple[int, int]
    sizes: BlockSizes

    def trained(
        self,
        data: ListData,
        training: ListTraining,
        report: Callable[[dict[str, Any]], None],
        kept: Kept,
    ) -> CrossStudent:
        """A cross-encoder, from the base's weights; its word embeddings stay frozen."""
        model = copy.deepcopy(self.base)
        model.embeddings.word_embeddings.weight.requires_grad_(False)
        cross = CrossStudent(model, self.around, (self.sizes.query - 2, self.sizes.document - 1))
        ListTrainer(cross.to(model.device), data, training, ("score",)).run(report, kept)
        return cross.requires_grad_(False)


def _train(
    student: BlockStudent,
    teachers: _Teachers,
    data: ListData,
    recipe: RerankerRecipe,
    write: Callable[[dict[str, Any]], None],
) -> None:
    """Give a student the mean weights of its trainings, and its share of the start."""
    checkpoints = Path(recipe.reranker.out) / CHECKPOINTS
    start = copy.deepcopy(student.state_dict())
    total = {name: torch.zeros_like(weight) for name, weight in start.items()}
    new = ("readout", f"backbone.model.encoder.layer.{student.backbone.reading.scoring_layer}.")
    for number, training in enumerate(recipe.trainings):
        teacher, about = None, {"training": number}
        if training.teacher is not None:
            say = _with(about | {"of": "teacher"}, write)
            kept = Kept(checkpoints / f"{number}-teacher", _digest(training.teacher))
            teacher = teachers.trained(data, training.teacher, say, kept)
        student.load_state_dict(start)
        kept = Kept(checkpoints / str(number), _digest(training))
        ListTrainer(student, data, training, new, teacher).run(_with(about, write), kept)
        for name, weight in student.state_dict().items():
            total[name] += weight / len(recipe.trainings)
    share = recipe.reranker.start_share
    student.load_state_dict({name: total[name].lerp(start[name], share) for name in start})


def _digest(training: ListTraining) -> str:
    """A hash of the settings that a training on lists keeps from start to end."""
    settings = {name: one for name, one in identity(training).items() if name not in ADJUSTABLE}
    return hashlib.blake2b(json.dumps(settings).encode(), digest_size=16).hexdigest()


def _with(about: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
    """Writes lines that begin with what they are about."""
    return lambda line: write(about | line)


def _settings(student: BlockStudent, config: RerankerConfig) -> RerankerSettings:
    reading = student.backbone.reading
    prior = {"query": config.prior_query, "none": config.prior_none}
    null = {"query": config.null_query, "none": config.null_none}
    return RerankerSettings(
        config.name,
        config.licence,
        reading.scoring_layer,
        reading.reads_from,
        config.sizes,
        ENCODER,
        {
            name: replace(readout, prior=prior[name], null=null[name])
            for name, readout in student.readout.settings().items()
        },
        config.shared_embeddings,
    )


def _around(tokenizer: Tokenizer) -> tuple[int, int]:
    """The ids of [CLS] and [SEP]."""
    first, last = (tokenizer.backend.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    if first is None or last is None:
        raise InputError(
            "expected a vocabulary with [CLS] and [SEP], found none; choose another reranker.base"
        )
    return int(first), int(last)
