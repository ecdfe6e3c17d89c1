"""Postings of the Common Index File Format: bytes in, numbers out, and back."""

import numpy as np

from tamis.index.segment.loops.compiled import compiled

DOC_FIELD = 1
TF_FIELD = 2
POSTING_TAG = 0x22  # field 4 of a list, with its length before it


@compiled
def read_varint(data, at):
    """The whole number that begins at a place, and the place after it."""
    value, shift = 0, 0
    while at < data.size:
        byte = np.int64(data[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            break
    return -1, -1


@compiled
def read_postings(data, docs, weights):
    """Read the postings that a list ends with, gaps summed; how many, or -1 if damaged.

    ``data`` [bytes] uint8; ``docs`` and ``weights`` [df] int64 are filled.
    """
    at, count, doc = 0, 0, 0
    while at < data.size:
        if data[at] != POSTING_TAG or count == docs.size:
            return -1
        length, at = read_varint(data, at + 1)
        end = at + length
        if at < 0 or length < 0 or end > data.size:
            return -1
        gap, weight = 0, 0
        while at < end:
            field, wire = data[at] >> 3, data[at] & 7
            value, at = read_varint(data, at + 1)
            if wire != 0 or at < 0 or at > end:
                return -1
            if field == DOC_FIELD:
                gap = value
            elif field == TF_FIELD:
                weight = value
        doc += gap
        docs[count], weights[count] = doc, weight
        count += 1
    return count


@compiled
def varint_size(value):
    """Bytes of a whole number of 0 or more."""
    size = 1
    while value >= 128:
        value >>= 7
        size += 1
    return size


@compiled
def put_varint(data, at, value):
    """Write a whole number of 0 or more; the place after it."""
    while value >= 128:
        data[at] = (value & 127) | 128
        value >>= 7
        at += 1
    data[at] = value
    return at + 1


@compiled
def write_postings(docs, weights):
    """The postings of a list as bytes [bytes] uint8; ``docs`` rise, both [df] int64."""
    size, last = 0, 0
    for place in range(docs.size):
        inner = 2 + varint_size(docs[place] - last) + varint_size(weights[place])
        size += 1 + varint_size(inner) + inner
        last = docs[place]
    data = np.empty(size, np.uint8)
    at, last = 0, 0
    for place in range(docs.size):
        gap = docs[place] - last
        inner = 2 + varint_size(gap) + varint_size(weights[place])
        data[at] = POSTING_TAG
        at = put_varint(data, at + 1, inner)
        data[at] = DOC_FIELD << 3
        at = put_varint(data, at + 1, gap)
        data[at] = TF_FIELD << 3
        at = put_varint(data, at + 1, weights[place])
        last = docs[place]
    return data
