"""Products of small integer matrices and vectors, as a compiled kernel calls them: exact, and many lanes at a time.

Written in the compiler's own intermediate language, because a loop over 16-bit numbers does not become the one
instruction that most processors have for it (multiply pairs, add neighbours). On those that lack it the same code
becomes several; the integers are the same everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped] # it has no types
from numba.core import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LANES = 16
SMALLEST, LARGEST = -32768, 32767


def in_pairs(weights: NDArray[np.int32]) -> NDArray[np.int16]:
    """Weights ``(input, output)`` as a kernel takes them: ``(pair of inputs, output x 2)`` int16."""
    inputs, outputs = weights.shape
    paired = weights.reshape(inputs // 2, 2, outputs).transpose(0, 2, 1).reshape(inputs // 2, 2 * outputs)
    return np.ascontiguousarray(paired, dtype=np.int16)


def adder(inputs: int, outputs: int) -> Callable[..., None]:
    """A function for kernels, ``f(sums, weights, values)``: adds to ``sums`` the product of weights and values.

    Sums are ``(outputs,)`` int32 and must not overflow, ``outputs`` a multiple of 16; weights come from
    :func:`in_pairs`, values are ``(inputs,)`` int16, an even number.
    """
    pairs, blocks = inputs // 2, outputs // LANES
    whole, half = ir.IntType(32), ir.IntType(16)
    sums_type, pairs_type = ir.VectorType(whole, LANES), ir.VectorType(half, 2 * LANES)
    wide_type = ir.VectorType(whole, 2 * LANES)

    def of(vector: Any, numbers: list[int]) -> Any:  # noqa: ANN401 # llvmlite has no types
        return ir.Constant(vector, numbers)

    def at(number: int) -> Any:  # noqa: ANN401
        return ir.Constant(whole, number)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        places = [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        sums = builder.bitcast(places[0], sums_type.as_pointer())
        weights = builder.bitcast(places[1], pairs_type.as_pointer())
        values = builder.bitcast(places[2], whole.as_pointer())
        nothing, nothing_wide = ir.Constant(sums_type, ir.Undefined), ir.Constant(wide_type, ir.Undefined)
        even, odd = of(sums_type, list(range(0, 2 * LANES, 2))), of(sums_type, list(range(1, 2 * LANES, 2)))
        spread = []
        for pair in range(pairs):
            value = builder.load(builder.gep(values, [at(pair)]), align=2)
            first = builder.insert_element(nothing, value, at(0))
            everywhere = builder.shuffle_vector(first, nothing, of(sums_type, [0] * LANES))
            spread.append(builder.sext(builder.bitcast(everywhere, pairs_type), wide_type))
        for block in range(blocks):
            place = builder.gep(sums, [at(block)])
            total = builder.load(place, align=4)
            for pair in range(pairs):
                weight = builder.load(builder.gep(weights, [at(pair * blocks + block)]), align=2)
                product = builder.mul(spread[pair], builder.sext(weight, wide_type))
                two = (builder.shuffle_vector(product, nothing_wide, which) for which in (even, odd))
                total = builder.add(total, builder.add(*two))
            builder.store(total, place, align=4)
        return context.get_dummy_value()

    @intrinsic
    def added(typingctx: Any, sums: Any, weights: Any, values: Any) -> Any:  # noqa: ANN401 # numba's form
        return types.void(sums, weights, values), build

    added_typed: Callable[..., None] = added
    return added_typed
