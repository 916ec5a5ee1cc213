"""What the quick coder's kernels ask of sixteen lanes at a time, in the compiler's own intermediate language.

A loop over sixteen cumulative counts does not become vector instructions by itself here; written out it does, on any
processor, and gives the same integers on all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir  # type: ignore[import-untyped] # it has no types
from numba.core import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

LANES = 16
WHOLE = 1 << 28  # what cumulative counts end at
USED_BITS = 16  # of the 28, in a split of the coder's interval
LEAST = 1 << 13  # of a symbol, so that two of its parts are left in 16 bits
_INT, _FLAG = ir.IntType(32), ir.IntType(1)
_VECTOR = ir.VectorType(_INT, LANES)


def _all(number: int) -> Any:  # noqa: ANN401 # llvmlite has no types
    return ir.Constant(_VECTOR, [number] * LANES)


def _spread(builder: Any, number: Any) -> Any:  # noqa: ANN401 # as above
    """One 64-bit number in all lanes, cut to 32 bits."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), builder.trunc(number, _INT), ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), _all(0))


def _lanes_at(context: Any, builder: Any, kind: Any, array: Any, row: Any) -> Any:  # noqa: ANN401 # as above
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [builder.shl(row, ir.Constant(ir.IntType(64), 4))]), _VECTOR.as_pointer())


@intrinsic
def leading_zeros(_typing: Any, number: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ANN401 # numba's own protocol
    """Zeros before the first one of a number of 31 bits that is not 0."""

    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401 # as above
        low = builder.trunc(arguments[0], _INT)
        found = builder.ctlz(low, ir.Constant(_FLAG, 1))
        return builder.sub(builder.zext(found, ir.IntType(64)), ir.Constant(ir.IntType(64), 1))

    return types.int64(types.int64), build


@intrinsic
def symbol_at(_typing: Any, table: Any, row: Any, part: Any, place: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ANN401
    """How many cumulative counts of a row, times ``part``, are at most ``place``: the symbol there.

    ``table`` is int32, 16 numbers a row, the last one ``WHOLE``; ``part`` is under 2^15, ``place`` under 2^31.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401 # as above
        lanes = builder.load(_lanes_at(context, builder, signature.args[0], *arguments[:2]), align=4)
        ends = builder.mul(builder.lshr(lanes, _all(28 - USED_BITS)), _spread(builder, arguments[2]))
        under = builder.icmp_unsigned("<=", ends, _spread(builder, arguments[3]))
        # The last end may lie at or under the place, where a damaged stream says so; it is no symbol's beginning.
        flags = builder.and_(builder.bitcast(under, ir.IntType(LANES)), ir.Constant(ir.IntType(LANES), (1 << 15) - 1))
        return builder.zext(builder.ctpop(flags), ir.IntType(64))

    return types.int64(table, types.int64, types.int64, types.int64), build


@intrinsic
def learn_symbol(_typing: Any, table: Any, row: Any, symbol: Any, rate: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ANN401
    """Move a row's cumulative counts towards those of a symbol, by 2^-rate of the way."""
    numbers = list(range(LANES))
    below = ir.Constant(_VECTOR, [(n + 1) * LEAST for n in numbers])
    above = ir.Constant(_VECTOR, [WHOLE - (LANES - 1 - n) * LEAST for n in numbers])

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401 # as above
        place = _lanes_at(context, builder, signature.args[0], *arguments[:2])
        lanes = builder.load(place, align=4)
        passed = builder.icmp_signed("<", ir.Constant(_VECTOR, numbers), _spread(builder, arguments[2]))
        wanted = builder.select(passed, below, above)
        moved = builder.ashr(builder.sub(wanted, lanes), _spread(builder, arguments[3]))
        builder.store(builder.add(lanes, moved), place, align=4)
        return context.get_dummy_value()

    return types.void(table, types.int64, types.int64, types.int64), build
