"""Blocks of documents: their summary vectors, and their entries by term.

A block is a run of `BLOCK` documents of an order. Its summary holds for each term the largest
image among its documents.
"""

import numpy as np

from tamis.index.segment.loops.arrays import BLOCK, BUCKETS
from tamis.index.segment.loops.compiled import compiled
from tamis.index.segment.loops.lists import HASH_FACTOR, HASH_SHIFT, image_of


@compiled
def bucket_of(term):
    """In which bucket of a block a term's entries stand."""
    return (np.int64(term) * HASH_FACTOR >> HASH_SHIFT) & (BUCKETS - 1)


@compiled
def count_terms(records, order, first, last, seen, lengths):
    """Count the different terms of the blocks from ``first`` to ``last``: ``lengths[block]``.

    Args:
        records: `Records`.
        order: ``[documents]`` int32, blocks one after the other.
        first: the first block.
        last: the one after the last.
        seen: ``[vocab_size]`` int32, -1 everywhere; changed.
        lengths: ``[blocks]`` int64, written.
    """
    for block in range(first, last):
        count = 0
        for doc in order[block * BLOCK : (block + 1) * BLOCK]:
            for at in range(records.starts[doc], records.starts[doc + 1]):
                term = records.entries[at].term
                count += seen[term] != block
                seen[term] = block
        lengths[block] = count


@compiled
def fill_summaries(records, steps, order, first, last, places, starts, summaries):
    """Write the summaries of the blocks from ``first`` to ``last``.

    Args:
        records: `Records`.
        steps: ``[vocab_size]`` float32.
        order: ``[documents]`` int32, blocks one after the other.
        first: the first block.
        last: the one after the last.
        places: ``[vocab_size]`` int64, -1 everywhere; changed.
        starts: ``[blocks + 1]`` int64, where each block's entries begin.
        summaries: packed {term, impact}, written: impacts are images; terms in no order.
    """
    for block in range(first, last):
        end = starts[block]
        for doc in order[block * BLOCK : (block + 1) * BLOCK]:
            for at in range(records.starts[doc], records.starts[doc + 1]):
                entry = records.entries[at]
                image = image_of(entry, records.scales[entry.term], steps[entry.term])
                place = places[entry.term]
                if place < starts[block]:  # of an earlier block, or of none
                    places[entry.term] = end
                    summaries[end].term, summaries[end].impact = entry.term, image
                    end += 1
                elif image > summaries[place].impact:
                    summaries[place].impact = image


@compiled
def fill_blocks(records, steps, order, first, last, bases, starts, entries):
    """Write the entries of the blocks from ``first`` to ``last``: by bucket, term and place.

    Args:
        records: `Records`.
        steps: ``[vocab_size]`` float32.
        order: ``[documents]`` int32, blocks one after the other.
        first: the first block.
        last: the one after the last.
        bases: ``[blocks + 1]`` int64, where each block's entries begin.
        starts: ``[blocks * (BUCKETS + 1)]`` uint16, written: where each bucket begins from there.
        entries: packed {term, place, image}, written.
    """
    ends = np.empty(BUCKETS + 1, np.int64)
    for block in range(first, last):
        docs, ends[:] = order[block * BLOCK : (block + 1) * BLOCK], 0
        for doc in docs:
            for at in range(records.starts[doc], records.starts[doc + 1]):
                ends[bucket_of(records.entries[at].term) + 1] += 1
        for bucket in range(BUCKETS):
            ends[bucket + 1] += ends[bucket]
        for bucket in range(BUCKETS + 1):
            starts[block * (BUCKETS + 1) + bucket] = ends[bucket]
        for place in range(docs.size):
            for at in range(records.starts[docs[place]], records.starts[docs[place] + 1]):
                entry = records.entries[at]
                bucket = bucket_of(entry.term)
                begin = bases[block] + starts[block * (BUCKETS + 1) + bucket]
                to = bases[block] + ends[bucket]
                while to > begin and entries[to - 1].term > entry.term:
                    entries[to].term = entries[to - 1].term
                    entries[to].place = entries[to - 1].place
                    entries[to].image = entries[to - 1].image
                    to -= 1
                image = image_of(entry, records.scales[entry.term], steps[entry.term])
                entries[to].term, entries[to].place, entries[to].image = entry.term, place, image
                ends[bucket] += 1
