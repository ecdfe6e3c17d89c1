"""Texts to blocks of token ids: what stands around a query and a document, and what is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tamis.index.errors import InputError
from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.rerank.layout import Block, BlockSizes
from tamis.retriever.rerank.reranker import check_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Conditioning = Literal["query", "none"]
CHARACTERS_AT_ONCE = 1 << 18  # of texts that are tokenised together


@dataclass(frozen=True, slots=True)
class Template:
    """The words around texts. Special tokens may be written here; in texts they are plain text.

    Attributes:
        prefix: before everything; ``{query}`` in it is replaced by the query.
        bare_prefix: the prefix where documents must not depend on the query.
        document: around a document's ``{text}``.
        query: around the ``{query}``, after all documents.
        signals: how many of the last tokens of the query block give scores; 0 for all of them.
    """

    prefix: str
    bare_prefix: str
    document: str
    query: str
    signals: int = 0

    def __post_init__(self) -> None:
        """Check the places that texts go to.

        Raises:
            InputError: one is missing, or where none may be.
        """
        places = (
            (self.prefix, "{query}", 1),
            (self.bare_prefix, "{query}", 0),
            (self.document, "{text}", 1),
            (self.query, "{query}", 1),
        )
        for words, place, times in places:
            if words.count(place) != times:
                raise InputError(
                    f"expected {place} {times} times in {words!r}, found {words.count(place)}; "
                    "correct the template"
                )


ENCODER = Template("[CLS]{query}[SEP]", "[CLS]", "{text}[SEP]", "{query}[SEP]")
DECODER = Template(
    "Read the documents and find those that help to answer the query.\n"
    "Query: {query}\nDocuments:\n",
    "Read the documents and find those that help to answer a query.\nDocuments:\n",
    "Document: {text}\n",
    "Query: {query}\nThe most relevant document: [",
    2,
)


class PromptBuilder:
    """Builds the blocks of a list; safe to use from several threads.

    Attributes:
        template: the words around texts.
        sizes: the most tokens of each block.
    """

    def __init__(self, backend: Any, template: Template, sizes: BlockSizes) -> None:  # noqa: ANN401
        """Tokenise the template.

        Args:
            backend: a `tokenizers.Tokenizer`; copied, so that its settings stay as they are.
            template: the words around texts.
            sizes: the most tokens of each block.

        Raises:
            InputError: a block has no room for a text between the words of its template.
        """
        self.template, self.sizes = template, sizes
        self._texts = _copy(backend)
        self._texts.encode_special_tokens = True  # "[SEP]" in a text is six letters
        words = _copy(backend)
        self._prefix = _around(words, template.prefix, "{query}")
        self._bare = self._with_text(_ids(words, template.bare_prefix))
        self._document = _around(words, template.document, "{text}")
        self._query = _around(words, template.query, "{query}")
        self._check_room()

    def build(self, query: str, documents: Sequence[str], conditioning: Conditioning) -> Block:
        """The blocks of one list.

        Texts that are too long lose their end, never the template's words or the signal tokens.

        Args:
            query: may be empty.
            documents: texts, see `with_text`; may be empty, and may hold empty ones.
            conditioning: "query" puts the query into the prefix, "none" leaves documents
                independent of it.

        Raises:
            InputError: the query is no text.
        """
        check_text(query, "the query")
        ids = self.ids([query, *documents])
        return self.build_from_ids(ids[0], ids[1:], conditioning)

    def build_from_ids(
        self,
        query: Sequence[int],
        documents: Sequence[Sequence[int]],
        conditioning: Conditioning,
        answer: Sequence[int] = (),
    ) -> Block:
        """`build` for texts that are tokenised already; see `ids`.

        Args:
            query: its ids.
            documents: their ids.
            conditioning: as `build`.
            answer: what a model in training should say after the query; takes room from it.
        """
        prefix = self._bare
        if conditioning == "query":
            prefix = _fill(self._prefix, query, self.sizes.prefix)
        last = _fill(self._query, query, self.sizes.query - len(answer))
        blocks = [self.document(ids) for ids in documents]
        return Block(prefix, blocks, last, self._signals(len(last)), answer)

    def document(self, ids: Sequence[int]) -> list[int]:
        """The block of one document."""
        return _fill(self._document, ids, self.sizes.document)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts alone, whatever they hold, as many as the longest block takes."""
        most = max(self.sizes.prefix, self.sizes.document, self.sizes.query)
        found: list[list[int]] = []
        for some in _portions(texts):
            check_for_interrupts()
            encodings = self._texts.encode_batch_fast(list(some), add_special_tokens=False)
            found += [encoding.ids[:most] for encoding in encodings]
        return found

    def spans(self, text: str) -> list[tuple[int, int]]:
        """First and last character of each token that `ids` gives, as ``text[start:stop]``."""
        encoding = self._texts.encode(text, add_special_tokens=False)
        return [(int(start), int(stop)) for start, stop in encoding.offsets]

    @property
    def document_start(self) -> int:
        """Tokens of a document's block that stand before its text."""
        return len(self._document[0])

    def _signals(self, length: int) -> int:
        return min(self.template.signals, length) or length

    def _with_text(self, ids: list[int]) -> list[int]:
        if not ids:
            raise InputError(
                "expected a prefix of at least one token where the query is left out, found none; "
                "give the template a bare_prefix"
            )
        return ids

    def _check_room(self) -> None:
        sizes = self.sizes
        kinds = (
            ("prefix", self._prefix, sizes.prefix),
            ("document", self._document, sizes.document),
            ("query", self._query, sizes.query),
        )
        for name, (before, after), most in kinds:
            if len(before) + len(after) >= most:
                raise InputError(
                    f"expected room for a text in {most} {name} tokens, found "
                    f"{len(before) + len(after)} tokens of template; shorten it or raise the size"
                )
        if len(self._bare) > sizes.prefix:
            raise InputError(
                f"expected a prefix of at most {sizes.prefix} tokens, found {len(self._bare)}; "
                "shorten bare_prefix"
            )


def _portions(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Texts in their order, few enough at once: tokens take a hundred times as much memory."""
    first = characters = 0
    for number, text in enumerate(texts):
        size = len(text)
        if characters and characters + size > CHARACTERS_AT_ONCE:
            yield texts[first:number]
            first, characters = number, 0
        characters += size
    yield texts[first:]


def _copy(backend: Any) -> Any:  # noqa: ANN401  tokenizers has no types
    copy = type(backend).from_str(backend.to_str())
    copy.no_padding()
    copy.no_truncation()
    copy.encode_special_tokens = False
    return copy


def _around(backend: Any, words: str, place: str) -> tuple[list[int], list[int]]:  # noqa: ANN401
    before, after = words.split(place)
    return _ids(backend, before), _ids(backend, after)


def _ids(backend: Any, text: str) -> list[int]:  # noqa: ANN401  tokenizers has no types
    return list(backend.encode(text, add_special_tokens=False).ids) if text else []


def _fill(around: tuple[list[int], list[int]], ids: Sequence[int], most: int) -> list[int]:
    before, after = around
    return [*before, *ids[: most - len(before) - len(after)], *after]
