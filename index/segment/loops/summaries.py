"""Summary vectors of blocks of documents.

A block is a run of `BLOCK` documents of an order. Its summary holds for each term the largest
image among its documents.
"""

from tamis.index.segment.loops.arrays import BLOCK
from tamis.index.segment.loops.compiled import compiled
from tamis.index.segment.loops.lists import image_of


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
