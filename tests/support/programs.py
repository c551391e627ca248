"""Programs compiled once for all tests of a folder, and for every other folder that shares them."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache


@pytest.fixture(scope="package", autouse=True)
def cached_programs(program_cache: str) -> Iterator[None]:
    """Compile each program once: most of these tests' time goes into compiling the same ones."""
    changes = {"jax_compilation_cache_dir": program_cache, "jax_persistent_cache_min_compile_time_secs": 0.0}
    before = {name: getattr(jax.config, name) for name in changes}
    for name, value in changes.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
