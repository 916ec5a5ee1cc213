"""One step of the Viterbi algorithm for sixteen states at a time, in the compiler's own intermediate language.

Which states lead to which is a shuffle of lanes, known when the kernel is compiled; sums and comparisons are those of
32-bit floating point, one rounding each, so every machine finds the same path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir  # type: ignore[import-untyped] # it has no types
from numba.core import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LANES = 16
_INT, _FLOAT = ir.IntType(32), ir.FloatType()
_FLOATS = ir.VectorType(_FLOAT, LANES)


def stepper(before: NDArray[Any], paid: NDArray[Any]) -> Callable[..., int]:
    """A function for kernels, ``f(cost, dear)``: one sample further, in place.

    ``cost`` is float32, one number a state; ``dear`` what each of the four choices of this sample costs, float32.
    What it returns has a bit set for each state that was reached by the second of its two ways.

    Args:
        before: the two states that lead to each state, ``(2, state)``.
        paid: which of the four choices each of these ways takes, ``(2, state)``.
    """

    def picked(numbers: NDArray[Any]) -> Any:  # noqa: ANN401 # llvmlite has no types
        return ir.Constant(ir.VectorType(_INT, LANES), [int(number) for number in numbers])

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401 # as above
        places = [
            builder.bitcast(context.make_array(kind)(context, builder, value).data, _FLOATS.as_pointer())
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        cost, dear = (builder.load(place, align=4) for place in places)
        nothing = ir.Constant(_FLOATS, ir.Undefined)
        ways = [
            builder.fadd(
                builder.shuffle_vector(cost, nothing, picked(before[way])),
                builder.shuffle_vector(dear, nothing, picked(paid[way])),
            )
            for way in range(2)
        ]
        is_second = builder.fcmp_ordered("<", ways[1], ways[0])
        builder.store(builder.select(is_second, ways[1], ways[0]), places[0], align=4)
        return builder.zext(builder.bitcast(is_second, ir.IntType(LANES)), ir.IntType(64))

    @intrinsic
    def stepped(_typing: Any, cost: Any, dear: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ANN401 # numba's own form
        return types.int64(cost, dear), build

    typed: Callable[..., int] = stepped
    return typed
