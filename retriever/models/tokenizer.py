"""Text to term ids through the `tokenizers` library alone; knows nothing of models or torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import tokenizers

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.tokenizer_settings import (
    FILE,
    changed_sections,
    lower_cased,
    read_tokenizer,
)
from tamis.retriever.vocabulary import parse_piece, piece_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CHARACTERS = 1 << 21  # tokenised together: each takes some 32 bytes until all are done


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer whose term ids are the dimensions of an encoder's vectors.

    Attributes:
        backend: a `tokenizers.Tokenizer` with truncation set and padding off; see `load`.
        special_ids: ids that stand for no text ([CLS], [PAD], [UNK], ...); never emitted as terms.
    """

    backend: Any
    special_ids: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        added = self.backend.get_added_tokens_decoder().items()
        special = frozenset(int(term) for term, token in added if token.special)
        object.__setattr__(self, "special_ids", special)

    @staticmethod
    def load(folder: Path, max_length: int, *, lower_case: bool = False) -> Tokenizer:
        """Read the tokenizer of a model folder.

        ``tokenizer.json`` and ``tokenizer_config.json`` need nothing but `tokenizers`; a folder
        that has only older files (``vocab.txt``, ``merges.txt``, ...) is converted by transformers.

        Args:
            folder: of the model.
            max_length: texts are cut to so many ids, at their end unless the files say otherwise.
            lower_case: texts are lower-cased, whatever the files say.

        Raises:
            FormatError: the folder has no tokenizer that can be read.
        """
        path = folder / FILE
        backend = _read_files(folder) if path.is_file() else _convert_older_files(folder)
        if lower_case:
            backend = _of_json(lower_cased(orjson.loads(backend.to_str())), path)
        direction = (backend.truncation or {}).get("direction", "right")
        backend.no_padding()
        around = int(backend.num_special_tokens_to_add(False))
        if max_length <= around:
            raise FormatError(
                f"{folder}: expected texts of more than {around} tokens, as many as stand around "
                f"every text, found a length of {max_length}; raise it where the model states it"
            )
        backend.enable_truncation(max_length, direction=direction)
        return Tokenizer(backend)

    @property
    def count(self) -> int:
        """Number of tokens, added ones included."""
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return 1 + max(map(int, self.backend.get_vocab(with_added_tokens=True).values()))

    def document_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text with the special ids that the model was trained to see around it."""
        return [encoding.ids for encoding in self._encodings(texts)]

    def bare_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text alone, without special ids around it."""
        return [encoding.ids for encoding in self._encodings(texts, add_special_tokens=False)]

    def count_ids(self, texts: Sequence[str]) -> list[int]:
        """How many ids `document_ids` gives of each text."""
        return [len(encoding) for encoding in self._encodings(texts)]

    def _encodings(self, texts: Sequence[str], **options: bool) -> Iterator[Any]:
        """What the library makes of each text, of some texts at a time."""
        for some in _by_length(texts):
            yield from self.backend.encode_batch_fast(some, **options)

    def check_prompt(self, prompt: str, folder: Path) -> None:
        """Refuse a prompt that leaves no room for the text behind it.

        Raises:
            FormatError: all texts would be cut to the prompt.
        """
        if not prompt:
            return
        tokens, room = TokenCounter(self, prompt)([""])[0], self.backend.truncation["max_length"]
        if tokens >= room:
            raise FormatError(
                f"{folder}: expected a prompt that leaves room for a text in {room} tokens, found "
                f"one of {tokens} tokens; shorten it, or raise the length"
            )

    def untruncated(self) -> Tokenizer:
        """A tokenizer that cuts no text."""
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.no_truncation()
        return Tokenizer(backend)

    def piece(self, term: int) -> str | None:
        """The piece of a term as the vocabulary spells it; None for a row that no text produces."""
        piece: str | None = self.backend.id_to_token(term)
        return piece

    def term_id(self, piece: str) -> int | None:
        """The term that the vocabulary spells so; None if there is none or it is a special one."""
        term = self.backend.token_to_id(piece)
        return None if term is None or term in self.special_ids else int(term)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``."""
        self.backend.save(str(folder / "tokenizer.json"))


@dataclass(frozen=True, slots=True)
class Pieces:
    """The word pieces of an encoder: a range of a `Vocabulary`, printed as they are.

    Attributes:
        tokenizer: spells the pieces.
        size: number of terms; models pad their vocabulary with rows that no text produces, which
            print as ``<number>``.
    """

    tokenizer: Tokenizer
    size: int

    def name(self, term: int) -> str:
        """How a piece is printed."""
        piece = self.tokenizer.piece(term)
        return f"<{term}>" if piece is None else piece_name(piece)

    def term(self, name: str) -> int | None:
        """The piece that is printed so; None if there is none, or it stands for no text."""
        piece = parse_piece(name)
        if piece is None:
            return None
        term = self.tokenizer.term_id(piece)
        if term is None and re.fullmatch(r"<\d{1,9}>", name) and self.name(int(name[1:-1])) == name:
            term = int(name[1:-1])
        return term if term is not None and term < self.size else None

    def terms_of(self, text: str) -> set[int]:
        """The pieces of a text."""
        (terms,) = self.tokenizer.bare_ids([text])
        return set(terms)


class TokenCounter:
    """Counts the tokens of documents as their model would read them uncut; needs no model."""

    def __init__(self, tokenizer: Tokenizer, prompt: str = "") -> None:
        """Count with a tokenizer.

        Args:
            tokenizer: of the document side.
            prompt: stands before every document.
        """
        self._tokenizer = tokenizer.untruncated()
        self._prompt = prompt

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special ones included."""
        prompted = [self._prompt + text for text in texts]
        return self._tokenizer.count_ids(prompted)


def _by_length(texts: Sequence[str]) -> Iterator[list[str]]:
    """Texts in order, `CHARACTERS` together or one that is longer."""
    some: list[str] = []
    room = CHARACTERS
    for text in texts:
        if some and len(text) > room:
            yield some
            some, room = [], CHARACTERS
        some.append(text)
        room -= len(text)
    if some:
        yield some


def _read_files(folder: Path) -> Any:  # noqa: ANN401  tokenizers has no types
    """The tokenizer.json of a folder, with what the files beside it change."""
    stored = read_tokenizer(folder)
    return _of_json(stored | changed_sections(stored, folder), folder / FILE)


def _of_json(content: dict[str, Any], path: Path) -> Any:  # noqa: ANN401  tokenizers has no types
    try:
        return tokenizers.Tokenizer.from_buffer(orjson.dumps(content))
    except Exception as error:  # the Rust library raises bare Exception
        raise FormatError(
            f"{path}: expected a tokenizer of the tokenizers library, found something else "
            f"({error}); copy the file again from the model's source"
        ) from error


def _convert_older_files(folder: Path) -> Any:  # noqa: ANN401  tokenizers has no types
    names = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "tokenizer.model")
    if not any((folder / name).is_file() for name in names):
        raise FormatError(
            f"{folder}: expected tokenizer.json, found no tokenizer file; "
            "save the model's tokenizer into that folder"
        )
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise FormatError(
            f"{folder}: expected tokenizer.json, found older files; install tamis[encode] to "
            "convert them, or save the tokenizer with transformers' save_pretrained"
        ) from error
    try:
        return AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        ).backend_tokenizer
    except Exception as error:  # a tokenizer without a fast form, a package that it needs, ...
        reason = " ".join(str(error).split())[:200]
        raise FormatError(
            f"{folder}: expected tokenizer files that transformers converts to tokenizer.json, "
            f"found others ({type(error).__name__}: {reason}); use a model with tokenizer.json"
        ) from error


def check_vocabulary(tokenizer: Tokenizer, folder: Path) -> None:
    """Refuse a model whose tokenizer gives other ids: token ids are all that training knows.

    Raises:
        InputError: it does.
    """
    other = Tokenizer.load(folder, 512)
    if other.backend.get_vocab() != tokenizer.backend.get_vocab():
        raise InputError(
            f"{folder}: expected the vocabulary of the student's base, found another; choose models"
            " of one tokenizer"
        )
