"""`jax.pmap` for tests: on virtual devices of a CPU, which share its threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

AXIS = "devices"


def pmapped(function: Callable[..., Any], in_axes: Any = 0) -> Callable[..., Any]:
    """`function` over the axis `AXIS`; each call is waited for.

    The devices wait for each other in threads of one pool. Work that is dispatched meanwhile takes these threads,
    and all may wait for ever.
    """
    run = jax.pmap(function, axis_name=AXIS, in_axes=in_axes)
    return lambda *args: jax.block_until_ready(run(*args))
