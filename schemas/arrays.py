"""One-dimensional token arrays as pydantic fields: dtype converted, shape checked, frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, PlainSerializer


def _vector(dtype: type[np.generic]) -> Callable[[Any], NDArray[Any]]:
    def convert(value: Any) -> NDArray[Any]:
        array = np.array(value, dtype=dtype)
        if array.ndim != 1:
            raise ValueError(f"expected one dimension, found shape {array.shape}")
        array.setflags(write=False)
        return array

    return convert


def _as_list(array: NDArray[Any]) -> list[Any]:
    values: list[Any] = array.tolist()
    return values


Int32Vector = Annotated[NDArray[np.int32], BeforeValidator(_vector(np.int32)), PlainSerializer(_as_list)]
Float32Vector = Annotated[
    NDArray[np.float32], BeforeValidator(_vector(np.float32)), PlainSerializer(_as_list)
]
BoolVector = Annotated[NDArray[np.bool_], BeforeValidator(_vector(np.bool_)), PlainSerializer(_as_list)]
