"""ShardMap: which shards an index has, where their replicas are, and which documents each holds."""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import msgspec
import xxhash
from msgspec import Meta, Struct

from tamis.index.errors import InputError
from tamis.retriever.corpus.chunking import parent_of

if TYPE_CHECKING:
    from pathlib import Path

DIGITS = 16  # of a hash, hexadecimal
END = 1 << 64
_Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{1,16}\Z")]


class ShardPlace(Struct, forbid_unknown_fields=True, frozen=True):
    """One shard.

    Attributes:
        name: told in messages.
        addresses: of its replicas, such as ``http://10.0.0.7:8080``.
        hashes: the first and the last hash of its documents; missing digits are 0 and f.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    addresses: Annotated[list[str], Meta(min_length=1, max_length=16)]
    hashes: tuple[_Hash, _Hash]

    @property
    def first(self) -> int:
        """The first hash."""
        return int(self.hashes[0].ljust(DIGITS, "0"), 16)

    @property
    def last(self) -> int:
        """The last hash."""
        return int(self.hashes[1].ljust(DIGITS, "f"), 16)


class ShardMap(Struct, forbid_unknown_fields=True, frozen=True):
    """The shards of one index; equal scores come in their order.

    Attributes:
        index: its name, on every server.
        shards: in the order of their hashes.
        key_file: a file with the API key that all servers take, on its first line.
        encoder: where the index's own encoder lies, where it is not the bundled one.
        deadline_ms: after which a search is answered without the shards that are late.
        renew_s: seconds between two looks for words that were written.
    """

    index: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    shards: Annotated[list[ShardPlace], Meta(min_length=1, max_length=1024)]
    key_file: str | None = None
    encoder: str | None = None
    deadline_ms: Annotated[int, Meta(ge=1, le=120_000)] = 5000
    renew_s: Annotated[float, Meta(gt=0, le=3600)] = 1.0

    def shard_of(self, doc_id: str, *, is_chunked: bool) -> int:
        """The shard that a document belongs to; passages stay with their document.

        Args:
            doc_id: its id.
            is_chunked: whether the index divides documents into passages.
        """
        whole = parent_of(doc_id) if is_chunked else doc_id
        found = xxhash.xxh3_64_intdigest(whole.encode())
        return bisect_right([one.first for one in self.shards], found) - 1


def read_shard_map(path: Path) -> ShardMap:
    """Read a map from TOML.

    Raises:
        InputError: it cannot be read, two shards share a name, address or hash, or a hash is no
            shard's.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
        found = msgspec.convert(given, ShardMap)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"{path}: expected a map of shards as TOML, found none to read ({error}); check it"
        ) from error
    except msgspec.ValidationError as error:
        raise InputError(
            f"{path}: expected a map of shards, found {error}; see the page on scale"
        ) from None
    try:
        _check(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return found


def equal_ranges(shards: int) -> list[tuple[str, str]]:
    """The hashes of so many shards of one size: the first and the last of each."""
    bounds = [END * number // shards for number in range(shards + 1)]
    return [(f"{first:0{DIGITS}x}", f"{after - 1:0{DIGITS}x}") for first, after in pairwise(bounds)]


def _check(given: ShardMap) -> None:
    _refuse_twins("name", [one.name for one in given.shards])
    addresses = [address for one in given.shards for address in one.addresses]
    _refuse_twins("address", [address.rstrip("/") for address in addresses])
    for address in addresses:
        _check_address(address)
    expected, before = 0, "the first shard"
    for one in given.shards:
        first, last = one.first, one.last
        if first != expected or last < first:
            what = "a gap" if first > expected else "an overlap"
            raise InputError(
                f"expected the hashes of shard {one.name!r} to begin with {expected:016x}, after "
                f"{before}, found {what}: {first:016x} to {last:016x}; every hash is of one shard, "
                "in rising order"
            )
        expected, before = last + 1, f"shard {one.name!r}"
    if expected != END:
        raise InputError(
            f"expected {before}, the last one, to end with {'f' * DIGITS}, found a gap from "
            f"{expected:016x} on; every hash is of one shard"
        )


def _refuse_twins(what: str, given: list[Any]) -> None:
    for one in given:
        if given.count(one) > 1:
            raise InputError(
                f"expected each {what} once, found {one!r} twice; leave one of them out"
            )


def _check_address(address: str) -> None:
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        good = good and parts.path in ("", "/") and not parts.query
    except ValueError:
        good = False
    if not good:
        raise InputError(
            f"expected an address such as http://10.0.0.7:8080, found {address!r}; correct it"
        )
