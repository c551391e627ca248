"""A backend's exception, which the worker has sent, as an exception and one line on the host's side."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bridges.protocol import CapacityError, SimulatorError, UnsupportedRandomization

FEWER = "Use fewer environments (--training.num-envs)."
_RAISED: Mapping[str, type[Exception]] = {
    "ValueError": ValueError,
    "UnsupportedRandomization": UnsupportedRandomization,
    "CapacityError": CapacityError,
}
"""Exceptions of a backend that are raised here as they are; every other one is a `SimulatorError`."""
_NO_MEMORY = re.compile(
    r"out of memory|memory allocation|(failed|could not|unable|cannot) (to )?allocate|RESOURCE_EXHAUSTED|bad_alloc",
    re.IGNORECASE,
)
"""How Python, NumPy, torch, XLA, Warp, MuJoCo and C++ say it."""


def is_failure(answer: Mapping[str, Any]) -> bool:
    """Whether it is an answer of `bridges.remote.worker` about an exception."""
    return all(isinstance(answer.get(key), str) for key in ("error", "text", "at"))


def exception(worker: str, call: str, answer: Mapping[str, Any]) -> Exception:
    """What to raise here for a failure in `call` of the worker that is called `worker`."""
    if answer["error"] in _RAISED:
        return _RAISED[answer["error"]](answer["text"])
    return SimulatorError(line(worker, answer, f"in '{call}'"))


def line(worker: str, answer: Mapping[str, Any], when: str) -> str:
    """One line: the exception, where it was raised, and what to do about it if that is known."""
    text = (answer["text"].strip().splitlines() or [""])[0]
    kind, place = answer["error"], f"(in {answer['at']})"
    if kind.endswith("MemoryError") or _NO_MEMORY.search(text):
        return f"{worker} ran out of memory {when}: {kind}: {text} {place}. {FEWER}"
    return f"{worker}: {kind} {when}: {text} {place}"
