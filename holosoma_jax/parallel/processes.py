"""The processes of one run: which one this is, its share of the environments, messages between hosts.

A single process takes the same calls, and they do nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from holosoma_jax.config.errors import ConfigError

_LONGEST = 16384
"""bytes of a text that the main process tells the others"""


def index() -> int:
    """Rank of this process among all of the run, 0 for a single one."""
    return jax.process_index()


def size() -> int:
    """How many processes the run has."""
    return jax.process_count()


def is_main() -> bool:
    """Whether this process writes logs and files (global rank 0)."""
    return index() == 0


def local_share(total: int, devices: int = 1) -> int:
    """Environments of this process, given the total over all processes and the devices of each.

    Raises:
      ConfigError: the total cannot be divided evenly.
    """
    parts = size() * devices
    if total % parts:
        nearest = max(parts, total // parts * parts)
        who = f"{size()} processes" if devices == 1 else f"{size()} process(es) with {devices} devices each"
        raise ConfigError(
            f"training.num_envs is {total}, which {who} cannot share evenly. "
            f"Pass --training.num-envs {nearest}."
        )
    return total // size()


def largest(number: int) -> int:
    """The largest of the processes' numbers, in all of them; every process has to ask."""
    if size() == 1:
        return number
    return int(multihost_utils.process_allgather(np.array([number])).max())


def from_main(tell: Callable[[], str]) -> str:
    """What `tell` returned in the main process, where alone it runs; every process has to ask.

    Raises:
      ConfigError: `tell` raised it, in all processes.
    """
    if size() == 1:
        return tell()
    text, failed = "", False
    if is_main():
        try:
            text = tell()
        except ConfigError as error:
            text, failed = str(error), True
    data = np.zeros(_LONGEST, np.uint8)
    line = f"{int(failed)}{text}".encode()[: _LONGEST - 1]
    data[: len(line)] = np.frombuffer(line, np.uint8)
    told = bytes(np.asarray(multihost_utils.broadcast_one_to_all(data))).rstrip(b"\0").decode()
    if told[0] == "1":
        raise ConfigError(told[1:])
    return told[1:]
