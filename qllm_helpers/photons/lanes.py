"""A short vector as a number inside compiled code: `LANES` samples side by side in registers.

LLVM does not vectorise loops over rows of one array on its own, because two rows might overlap.
Here a row is loaded as one value of the type `Lanes`, on which +, - and * act lane by lane; the
compiler maps it to whatever registers the processor has (one of AVX-512, two of AVX2, ...). For use
in functions compiled by numba only.
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


class _LanesArithmetic(AbstractTemplate):
    def generic(self, arguments, keywords):
        if len(arguments) == 2 and all(isinstance(one, LanesType) for one in arguments):
            return signature(arguments[0], *arguments)
        return None


def _define(operation, instruction: str) -> None:
    infer_global(operation)(type("LanesTemplate", (_LanesArithmetic,), {}))

    @lower_builtin(operation, LanesType, LanesType)
    def _lower(context, builder, signature_, arguments):
        return getattr(builder, instruction)(*arguments, flags=_FLAGS)


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")


def _row_pointer(context, builder, array_type, array, row):
    data = context.make_array(array_type)(context, builder, array).data
    offset = builder.mul(row, ir.Constant(row.type, LANES))
    vector = context.get_value_type(LanesType(array_type.dtype))
    return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())


def _alignment(array_type) -> int:
    # That of a single number: rows of any array may be used.
    return array_type.dtype.bitwidth // 8


@intrinsic
def load(typing_context, array, row):
    """Row `row` of a C-contiguous array of shape (rows, LANES), without a check of bounds."""

    def generate(context, builder, signature_, arguments):
        array_type = signature_.args[0]
        pointer = _row_pointer(context, builder, array_type, *arguments)
        return builder.load(pointer, align=_alignment(array_type))

    return LanesType(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing_context, array, row, lanes):
    """Write `lanes` into row `row` of a C-contiguous array of shape (rows, LANES)."""

    def generate(context, builder, signature_, arguments):
        array_type = signature_.args[0]
        pointer = _row_pointer(context, builder, array_type, *arguments[:2])
        builder.store(arguments[2], pointer, align=_alignment(array_type))
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate
