"""What runs in a worker."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridges.protocol import SimulatorError
from bridges.remote import worker as wire


class StartError(SimulatorError):
    """The worker could not be started."""


@dataclass(frozen=True)
class Program:
    """What runs in the worker."""

    title: str
    """how errors call it, such as 'isaacgym'"""
    backend: str
    """path of a file or name of a module with ``create(settings, arrays)``; see `bridges.remote.worker`"""
    calls: tuple[str, ...]
    """names of the backend's methods"""
    arrays: Mapping[str, tuple[tuple[int, ...], type]]
    """name -> shape and type of each array in shared memory, in this order"""
    settings: Mapping[str, Any]
    """for the backend; NumPy arrays and JSON values"""
    python: str = sys.executable
    path: tuple[str, ...] = ()
    """put in front of the worker's module search path"""
    packages: tuple[str, ...] = ()
    """of the worker's Python: their versions are reported"""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """changes to this process' environment; None removes a variable"""
    start_timeout_s: float = 600.0
    timeout_s: float = 120.0
    worker: str = wire.__file__
