"""Asking the processor for memory before it is needed."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tamis.index.segment.loops.arrays import CACHE_LINE_BYTES
from tamis.index.segment.loops.compiled import compiled

READ, KEEP, DATA = 0, 3, 1  # arguments of llvm.prefetch: for reading, into all caches, no code


def emit_prefetch(builder: Any, pointer: Any) -> None:  # noqa: ANN401
    """Add the call of ``llvm.prefetch`` for what a pointer points to."""
    byte_pointer, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte_pointer, int32, int32, int32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    address = builder.bitcast(pointer, byte_pointer)
    builder.call(function, [address, int32(READ), int32(KEEP), int32(DATA)])


@intrinsic
def prefetch_item(typing_context: Any, array: Any, at: Any) -> Any:  # noqa: ANN401
    """Start loading ``array[at]``; a hint without any effect on results.

    LLVM lowers ``llvm.prefetch`` on every target, to nothing where the processor has no such
    instruction. ``at`` may lie outside the array: nothing is read.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        array_type = signature.args[0]
        view = context.make_array(array_type)(context, builder, arguments[0])
        item = cgutils.get_item_pointer(
            context, builder, array_type, view, [arguments[1]], wraparound=False
        )
        emit_prefetch(builder, item)
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@compiled
def prefetch_range(array, start, stop, item_bytes):
    """Start loading ``array[start:stop]``, line by line."""
    for at in range(start, stop, CACHE_LINE_BYTES // item_bytes):
        prefetch_item(array, at)
