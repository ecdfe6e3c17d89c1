"""Reads the configuration of a training, and refuses what it may not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamis.index.errors import InputError
from tamis.retriever.training.config import TrainingConfig
from tamis.retriever.training.records import read_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_config(path: str | Path) -> TrainingConfig:
    """Read a configuration.

    Raises:
        InputError: no such file, not TOML, or a key or value that is not one (named, with the
            nearest that is).
    """
    config = read_record(TrainingConfig, path)
    _check(config, str(path))
    return config


def _check(config: TrainingConfig, path: str) -> None:
    """Refuse numbers that make no sense, and choices that do not go together.

    Raises:
        InputError: there are such; ``path`` is where they stand.
    """
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
        "data.passage_tokens": config.data.passage_tokens - 2,  # special ones around a text
        "data.query_tokens": config.data.query_tokens,
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
            raise InputError(
                f"{path}: expected {name} of at least 1 (batch.passages: 2, "
                "passage_tokens: 3), found fewer"
            )
    for found, expected, remedy in _contradictions(config):
        raise InputError(f"{path}: expected {expected}, found {found}; {remedy}")


def _contradictions(config: TrainingConfig) -> Iterator[tuple[str, str, str]]:
    """What is found, what was expected, and the remedy, of settings that do not go together."""
    loss, model, batch = config.loss, config.model, config.batch
    if not (loss.kl or loss.contrastive or loss.margin_mse):
        yield "none", "a loss with a weight above 0", "set loss.kl"
    if loss.sparse and not loss.sparse_teacher:
        yield "loss.sparse alone", "a sparse teacher", "set loss.sparse_teacher"
    if loss.cached and not any(source.scores for source in config.data.sources):
        yield "loss.cached alone", "a source with scores", "set `scores` of a source"
    if model.query_table and model.query is not None:
        yield "both", "model.query or model.query_table", "set model.query_table = false"
    for side in filter(None, (model, model.query)):
        if side.lora_rank and side.head.has_weights:
            yield f"head {side.head}", "head max or sum with lora_rank", "set lora_rank = 0"
    mines = config.mining.every or any(one.listed or one.triples for one in config.data.sources)
    if batch.negatives and not mines:
        yield "none", "hard negatives for batch.negatives", "set mining.every"
    if config.mining.every and not batch.negatives:
        yield "batch.negatives = 0", "room for what is mined", "set batch.negatives"
    if config.mining.every and config.mining.dense and not loss.dense:
        yield "loss.dense = 0", "a dense teacher for mining.dense", "set mining.dense = false"
