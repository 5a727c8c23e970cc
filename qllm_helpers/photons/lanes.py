"""A short vector as a number inside compiled code: `LANES` samples side by side in registers.

LLVM does not vectorise loops over rows of one array, because two rows might overlap. Here a row is
loaded as one value on which +, - and * act lane by lane, in whatever registers the processor has.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

#: Samples in one vector: as float32 they fill one AVX-512 register.
LANES = 16

# A multiplication and an addition may become one fused operation, always the same one.
_FLAGS = ("contract",)


class LanesType(types.Type):
    """Numba's type of `LANES` numbers of one floating-point type."""

    def __init__(self, scalar: types.Float) -> None:
        self.scalar = scalar
        super().__init__(name=f"Lanes({scalar})")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, type_) -> None:
        scalar = manager.lookup(type_.scalar).get_value_type()
        super().__init__(manager, type_, ir.VectorType(scalar, LANES))


def _define(operation, instruction: str) -> None:
    @infer_global(operation)
    class _Arithmetic(AbstractTemplate):
        def generic(self, arguments, keywords):
            if len(arguments) == 2 and all(isinstance(one, LanesType) for one in arguments):
                return signature(arguments[0], *arguments)
            return None

    @lower_builtin(operation, LanesType, LanesType)
    def _lower(context, builder, signature_, arguments):
        return getattr(builder, instruction)(*arguments, flags=_FLAGS)


for _pair in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _define(*_pair)


def _row_pointer(context, builder, array_type, array, row):
    """Address of a row, and its alignment: that of a single number, so that any array may do."""
    data = context.make_array(array_type)(context, builder, array).data
    offset = builder.mul(row, ir.Constant(row.type, LANES))
    vector = context.get_value_type(LanesType(array_type.dtype))
    pointer = builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())
    return pointer, array_type.dtype.bitwidth // 8


@intrinsic
def load(typing_context, array, row):
    """Row `row` of a C-contiguous array of shape (rows, LANES), without a check of bounds."""

    def generate(context, builder, signature_, arguments):
        pointer, align = _row_pointer(context, builder, signature_.args[0], *arguments)
        return builder.load(pointer, align=align)

    return LanesType(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing_context, array, row, lanes):
    """Write `lanes` into row `row` of a C-contiguous array of shape (rows, LANES)."""

    def generate(context, builder, signature_, arguments):
        pointer, align = _row_pointer(context, builder, signature_.args[0], *arguments[:2])
        builder.store(arguments[2], pointer, align=align)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate
