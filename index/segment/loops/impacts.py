"""What an impact of a record is as a number: see `quantize.py`."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_EXPONENT = 40  # bits from the exponent of such a float to that of double precision
_LIFT = 2.0**1022  # what the lesser bias amounts to; normalises gradual underflow, too


@intrinsic
def number_of(typing_context: Any, impact: Any) -> Any:  # noqa: ANN401
    """An impact in double precision: a whole number, a float, or the bits of a short float."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        if impact != types.int16:
            return context.cast(builder, arguments[0], impact, types.float64)
        bits = builder.zext(arguments[0], ir.IntType(64))
        double = builder.bitcast(builder.shl(bits, ir.IntType(64)(_EXPONENT)), ir.DoubleType())
        return builder.fmul(double, ir.DoubleType()(_LIFT))

    return types.float64(impact), generate
