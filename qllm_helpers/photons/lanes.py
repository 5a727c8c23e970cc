"""Rows of samples, one in each lane of a vector, in compiled code."""

import operator

from llvmlite import ir
from numba import njit
from numba.core import types
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

jit = njit(cache=True, nogil=True, fastmath={"contract"})
jit_parallel = njit(cache=True, nogil=True, fastmath={"contract"}, parallel=True)

#: Samples in one row: as float32 they fill one AVX-512 register.
LANES = 16
_TILE = 128


# LLVM does not vectorise loops over rows of one array, because two rows might overlap. Here a row
# is loaded as one value on which +, - and * act lane by lane.
class _LanesType(types.Type):
    def __init__(self, scalar: types.Float) -> None:
        self.scalar = scalar
        super().__init__(name=f"Lanes({scalar})")


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, type_) -> None:
        scalar = manager.lookup(type_.scalar).get_value_type()
        super().__init__(manager, type_, ir.VectorType(scalar, LANES))


def _define(operation, instruction: str) -> None:
    @infer_global(operation)
    class _Arithmetic(AbstractTemplate):
        def generic(self, arguments, keywords):
            if len(arguments) == 2 and all(isinstance(one, _LanesType) for one in arguments):
                return signature(arguments[0], *arguments)
            return None

    @lower_builtin(operation, _LanesType, _LanesType)
    def _lower(context, builder, signature_, arguments):
        # a multiplication and an addition may become one fused operation, always the same one
        return getattr(builder, instruction)(*arguments, flags=("contract",))


for _name, _instruction in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    _define(getattr(operator, _name), _instruction)


def _row_pointer(context, builder, array_type, array, row):
    """Address of a row, and its alignment: that of a single number, so that any array may do."""
    data = context.make_array(array_type)(context, builder, array).data
    offset = builder.mul(row, ir.Constant(row.type, LANES))
    vector = context.get_value_type(_LanesType(array_type.dtype))
    pointer = builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())
    return pointer, array_type.dtype.bitwidth // 8


@intrinsic
def load(typing_context, array, row):
    """Row `row` of a C-contiguous array (rows, LANES), without a check of bounds."""

    def generate(context, builder, signature_, arguments):
        pointer, align = _row_pointer(context, builder, signature_.args[0], *arguments)
        return builder.load(pointer, align=align)

    return _LanesType(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing_context, array, row, lanes):
    """The way back of `load`."""

    def generate(context, builder, signature_, arguments):
        pointer, align = _row_pointer(context, builder, signature_.args[0], *arguments[:2])
        builder.store(arguments[2], pointer, align=align)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def spread(typing_context, value):
    """One number in every lane."""

    def generate(context, builder, signature_, arguments):
        vector = context.get_value_type(signature_.return_type)
        first = ir.Constant(ir.IntType(32), 0)
        single = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[0], first)
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), mask)

    return _LanesType(value)(value), generate


@jit
def load_rows(values, first, rows):
    """Copy samples of `values` (B, K), from `first`, into `rows` (K or more, LANES), else zeros."""
    n_samples, n_columns = min(LANES, len(values) - first), values.shape[1]
    if n_samples < LANES or n_columns < len(rows):
        rows[:] = 0
    # in tiles that stay in cache
    for start in range(0, n_columns, _TILE):
        for lane in range(n_samples):
            for column in range(start, min(start + _TILE, n_columns)):
                rows[column, lane] = values[first + lane, column]


@jit
def store_rows(rows, first, values):
    """The way back of `load_rows`."""
    n_columns = values.shape[1]
    for start in range(0, n_columns, _TILE):
        for lane in range(min(LANES, len(values) - first)):
            for column in range(start, min(start + _TILE, n_columns)):
                values[first + lane, column] = rows[column, lane]
