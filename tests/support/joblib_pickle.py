"""A pickle as joblib writes it, without joblib."""

from __future__ import annotations

import io
import pickle
import sys
import types

import numpy as np


def joblib_bytes(value: dict[str, dict[str, object]]) -> bytes:
    """`value` as joblib.dump writes it: each array's bytes follow a wrapper object in the pickle stream."""

    class NumpyArrayWrapper:
        pass

    NumpyArrayWrapper.__module__, NumpyArrayWrapper.__qualname__ = "joblib.numpy_pickle", "NumpyArrayWrapper"
    module = types.ModuleType("joblib.numpy_pickle")
    module.NumpyArrayWrapper = NumpyArrayWrapper  # type: ignore[attr-defined]

    class Pickler(pickle._Pickler):  # type: ignore[name-defined]
        def save(self, obj: object, *rest: object) -> None:
            if type(obj) is not np.ndarray:
                return super().save(obj, *rest)
            wrapper = NumpyArrayWrapper()
            wrapper.__dict__ = {
                "subclass": np.ndarray,
                "shape": obj.shape,
                "order": "C",
                "dtype": obj.dtype,
                "allow_mmap": True,
                "numpy_array_alignment_bytes": 16,
            }
            super().save(wrapper, *rest)
            self.framer.commit_frame(force=True)
            self.stream.write(bytes([3]) + b"\xff" * 3 + obj.tobytes())

    stream = io.BytesIO()
    pickler = Pickler(stream, protocol=4)
    pickler.stream = stream
    before = {name: sys.modules.get(name) for name in ("joblib", "joblib.numpy_pickle")}
    sys.modules["joblib"], sys.modules["joblib.numpy_pickle"] = types.ModuleType("joblib"), module
    try:
        pickler.dump(value)
    finally:
        for name, was in before.items():
            if was is None:
                del sys.modules[name]
            else:
                sys.modules[name] = was
    return stream.getvalue()
