"""Reads a reranker's folder: settings, tokenizer and weights, without unpickling anything.

A folder of the Hugging Face format is a reranker as it is; ``reranker.json`` beside it says what
its configuration cannot. The bundled reranker stores its layers as int8 rows and takes its
embedding matrix from the bundled encoder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
import xxhash

from tamis.index.errors import FormatError, MismatchError
from tamis.retriever.models.arithmetic import (
    Arithmetic,
    check_int8,
    checked_name,
    faster_float,
    fastest,
)
from tamis.retriever.models.encoder import ARITHMETIC_VARIABLE
from tamis.retriever.models.hugging_face_format import TOKENIZER_FILES
from tamis.retriever.models.inventory import CONFIG
from tamis.retriever.models.location import BUNDLED, DEFAULT, find_folder, read_object
from tamis.retriever.models.quantised_weights import SCALE, dequantise_rows, load_quantised
from tamis.retriever.models.tensor_files import file_digest, load_arrays
from tamis.retriever.models.tokenizer import Tokenizer
from tamis.retriever.rerank.backbone import (
    CAUSAL,
    Backbone,
    BlockModel,
    check_architecture,
    check_positions,
    default_scoring_layer,
)
from tamis.retriever.rerank.layout import BlockSizes
from tamis.retriever.rerank.prompt import (
    DECODER,
    ENCODER,
    Conditioning,
    PromptBuilder,
    Template,
)
from tamis.retriever.rerank.readout import Readout  # noqa: TC001  msgspec reads annotations

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SETTINGS = "reranker.json"
SAMPLE = "embedding_sample.safetensors"
CLASSIFIER = "ForSequenceClassification"
BUNDLED_RERANKER = BUNDLED.with_name("reranker")
EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
ENCODER_SIZES = BlockSizes()
DECODER_SIZES = BlockSizes(prefix=512, document=7680, query=512)


@dataclass(frozen=True)
class RerankerSettings:
    """What ``reranker.json`` holds.

    Attributes:
        name: as reports print it.
        licence: of the weights.
        scoring_layer: the layer that gives the scores, from 0; None for two thirds up.
        reads_from: first layer in which the query reads documents.
        sizes: the most tokens of each block; None for the architecture's own.
        template: the words around texts; None for the architecture's own.
        readouts: by conditioning, how attention becomes a score.
        shared_embeddings: how far, relatively, the bundled encoder's embedding matrix may be from
            the one these weights were trained beside; 0 where the folder has a matrix of its own.
        null_query: what asks nothing, where a readout takes its scores off; empty, or "N/A".
    """

    name: str = ""
    licence: str = ""
    scoring_layer: int | None = None
    reads_from: int = 0
    sizes: BlockSizes | None = None
    template: Template | None = None
    readouts: dict[Conditioning, Readout] = field(default_factory=dict)
    shared_embeddings: float = 0.0
    null_query: str = ""


@dataclass(frozen=True)
class LoadedReranker:
    """A reranker's parts, ready to run.

    Attributes:
        backbone: the model up to its scoring layer.
        prompts: texts to blocks.
        settings: what the folder says.
        fingerprint: changes with everything that a key depends on: weights, configuration, settings
            and tokenizer.
    """

    backbone: BlockModel
    prompts: PromptBuilder
    settings: RerankerSettings
    fingerprint: str


def load_reranker(
    name_or_path: str, device: torch.device, dtype: torch.dtype | None = None
) -> LoadedReranker:
    """Load a reranker onto a device.

    Args:
        name_or_path: ``default`` for the bundled one, a folder, or a hub name.
        device: where it runs.
        dtype: of its weights; None for what the device multiplies fastest: on a processor that may
            be int8 for the bundled one, which then runs without transformers. ``TAMIS_ARITHMETIC``
            overrides it on processors; where int8 is asked for, other rerankers run in floats.

    Raises:
        InputError: ``TAMIS_ARITHMETIC`` names no arithmetic, or one that this processor lacks.
        FormatError: files are missing or damaged, or the architecture is not supported.
        MismatchError: the embedding matrix it belongs to is another.
    """
    folder = BUNDLED_RERANKER if name_or_path == DEFAULT else find_folder(name_or_path)
    settings = read_settings(folder)
    in_int8 = dtype is None and device.type == "cpu" and _runs_in_int8(settings)
    config = SimpleNamespace(**_stated(folder)) if in_int8 else _read_config(folder)
    causal = CAUSAL[config.model_type]
    sizes = settings.sizes or (DECODER_SIZES if causal else ENCODER_SIZES)
    check_positions(config, sizes)
    _check_heads(settings, int(config.num_attention_heads), folder)
    layer = settings.scoring_layer
    layer = default_scoring_layer(config) if layer is None else layer
    if not 0 <= layer < config.num_hidden_layers:
        raise FormatError(
            f"{folder / SETTINGS}: expected a scoring_layer from 0 to "
            f"{config.num_hidden_layers - 1}, found {layer}; correct the file"
        )
    config.num_hidden_layers = layer + 1  # later layers never run
    tokens = BUNDLED if settings.shared_embeddings else folder
    template = settings.template or (DECODER if causal else ENCODER)
    prompts = PromptBuilder(Tokenizer.load(tokens, sizes.positions).backend, template, sizes)
    if in_int8:
        backbone = _int8_backbone(folder, config, settings)
    else:
        model = _model(folder, config, settings, dtype or usual_dtype(device))
        backbone = Backbone(model.to(device).eval(), layer, settings.reads_from)
    return LoadedReranker(backbone, prompts, settings, _fingerprint(folder, tokens))


def usual_dtype(device: torch.device) -> torch.dtype:
    """What a reranker's weights are in where nothing says: what the device multiplies faster."""
    if device.type != "cpu":
        return torch.bfloat16
    asked = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(_asked() or "")
    return asked or faster_float()


def _asked() -> Arithmetic | None:
    asked = os.environ.get(ARITHMETIC_VARIABLE) or None
    return None if asked is None else checked_name(asked)


def _runs_in_int8(settings: RerankerSettings) -> bool:
    """Whether a reranker's int8 rows are multiplied as they are: the bundled one's, where it pays.

    Raises:
        InputError: int8 is asked for, and this processor lacks it.
    """
    asked = _asked()
    if not settings.shared_embeddings or (asked or fastest()) != "int8":
        return False
    if asked is not None:
        check_int8(torch.device("cpu"))
    return True


def _stated(folder: Path) -> dict[str, Any]:
    """The config.json of a model that can be read; what else a folder may hold is refused."""
    if (folder / "adapter_config.json").is_file():
        raise FormatError(
            f"{folder}: expected a whole model, found a PEFT adapter; merge it into its base with "
            "peft's merge_and_unload, and save the result"
        )
    stated = read_object(folder / "config.json")
    CONFIG.check(stated, folder / "config.json")
    check_architecture(stated.get("model_type"))
    for name in stated.get("architectures") or ():
        if name.endswith(CLASSIFIER) and not (folder / SETTINGS).is_file():
            raise FormatError(
                f"{folder}: expected a model without a task's head, found {name}: its classifier "
                f"is not run here, and attention alone ranks otherwise; use its base model, or "
                f"say in {SETTINGS} how to read it"
            )
    return stated


def _read_config(folder: Path) -> Any:  # noqa: ANN401  any Hugging Face configuration
    """The same as transformers reads it."""
    _stated(folder)
    from transformers import AutoConfig

    from tamis.retriever.models.weights import reading

    with reading(folder):
        return AutoConfig.from_pretrained(str(folder), local_files_only=True)


def _check_heads(settings: RerankerSettings, heads: int, folder: Path) -> None:
    for name, readout in settings.readouts.items():
        if readout.heads is not None and len(readout.heads) != heads:
            raise FormatError(
                f"{folder / SETTINGS}: expected {heads} head weights in readouts.{name}, one a "
                f"head of the model, found {len(readout.heads)}; correct the file"
            )


def read_settings(folder: Path) -> RerankerSettings:
    """The settings of a folder, all at their defaults where there is no file.

    Raises:
        FormatError: the file is something else.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return RerankerSettings()
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        unknown = sorted(set(stored) - set(RerankerSettings.__dataclass_fields__))
        if unknown:
            raise ValueError(f"unknown settings {', '.join(unknown)}")
        return msgspec.convert(stored, RerankerSettings)
    except (msgspec.MsgspecError, ValueError) as error:
        raise FormatError(
            f"{path}: expected the settings of a reranker, found something else ({error}); "
            "correct the file"
        ) from error


def embedding_distance(encoder: dict[str, NDArray[Any]], folder: Path) -> float:
    """How far an encoder's embedding matrix is from the one that a reranker was trained beside.

    Args:
        encoder: tensors of the encoder, its matrix as int8 rows.
        folder: of the reranker; holds a sample of the rows it was trained beside.

    Returns:
        The norm of the difference over the norm of the sample.
    """
    sample = load_quantised(folder / SAMPLE)
    rows = sample["rows"].astype(np.int64)
    found = dequantise_rows(encoder[EMBEDDINGS][rows], encoder[EMBEDDINGS + SCALE][rows])
    wanted = sample["vectors"]
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def _model(
    folder: Path,
    config: Any,  # noqa: ANN401  any Hugging Face configuration
    settings: RerankerSettings,
    dtype: torch.dtype,
) -> Any:  # noqa: ANN401  any Hugging Face model
    if settings.shared_embeddings:
        return _bundled_model(folder, config, settings.shared_embeddings, dtype)
    from transformers import AutoModel

    from tamis.retriever.models.weights import load_model

    return load_model(AutoModel, folder, dtype, config).model


def _int8_backbone(folder: Path, config: Any, settings: RerankerSettings) -> BlockModel:  # noqa: ANN401
    from tamis.retriever.models.int8_bert import Int8Bert, Tensors
    from tamis.retriever.rerank.int8_backbone import Int8Backbone

    encoder = _shared_encoder(folder, settings.shared_embeddings)
    shared = {
        EMBEDDINGS.removeprefix("bert.") + end: encoder[EMBEDDINGS + end] for end in ("", SCALE)
    }
    tensors = Tensors(load_arrays(folder / "model.safetensors") | shared, config.layer_norm_eps)
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    try:
        bert = Int8Bert.of(tensors, layers, heads, faster_float())
    except KeyError as error:
        raise FormatError(
            f"{folder}: expected the weights of the whole model, found none for {error}; "
            "copy the folder from its source"
        ) from error
    return Int8Backbone(bert, settings.reads_from)


def _shared_encoder(folder: Path, most: float) -> dict[str, NDArray[Any]]:
    """The bundled encoder's tensors, if its embedding matrix is near enough.

    Raises:
        MismatchError: it is not.
    """
    encoder = load_arrays(BUNDLED / "model.safetensors")
    found = embedding_distance(encoder, folder)
    if not found <= most:
        raise MismatchError(
            f"{folder}: expected an encoder whose embedding matrix is at most {most} from the one "
            f"it was trained beside, found {found:.3f}; install encoder and reranker of one release"
        )
    return encoder


def _bundled_model(folder: Path, config: Any, most: float, dtype: torch.dtype) -> Any:  # noqa: ANN401
    from transformers import AutoModel

    from tamis.retriever.models.weights import fill

    encoder = _shared_encoder(folder, most)
    weights = load_quantised(folder / "model.safetensors")
    rows = dequantise_rows(encoder[EMBEDDINGS], encoder[EMBEDDINGS + SCALE])
    weights["embeddings.word_embeddings.weight"] = rows
    kind: Any = AutoModel
    model = kind.from_config(config, add_pooling_layer=False)
    strip_scoring_layer(model)
    unknown = sorted(set(weights) - set(model.state_dict()))
    if unknown:
        raise FormatError(
            f"{folder}: expected the weights of its config.json, found {', '.join(unknown[:3])} "
            f"beside them ({len(unknown)}); copy the folder from its source"
        )
    fill(model, {name: torch.from_numpy(weight) for name, weight in weights.items()}, folder)
    return model.to(dtype)


def strip_scoring_layer(model: Any) -> None:  # noqa: ANN401  a BERT model
    """Take out what the last layer of a BERT never runs: it only makes queries and keys."""
    layer = model.encoder.layer[-1]
    layer.attention.self.value = torch.nn.Identity()  # its output is not read
    for part, name in ((layer.attention, "output"), (layer, "intermediate"), (layer, "output")):
        setattr(part, name, torch.nn.Identity())


def _fingerprint(folder: Path, tokens: Path) -> str:
    """A hash of the files that decide a key.

    Args:
        folder: of the reranker.
        tokens: the folder that its tokenizer, and perhaps its embedding matrix, come from.
    """
    own = [*sorted(folder.glob("*.safetensors")), folder / "config.json", folder / SETTINGS]
    shared = [] if tokens == folder else [tokens / "model.safetensors"]
    digest = xxhash.xxh3_64()
    for path in (*own, *shared, *(tokens / name for name in TOKENIZER_FILES)):
        if path.is_file():
            digest.update(file_digest(path))
    return digest.hexdigest()
