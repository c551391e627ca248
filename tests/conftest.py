"""What every test runs under: four virtual CPU devices, and JAX as strict as it gets.

Most of the tests' time goes into compiling programs that then run for a moment, so XLA is told to
compile quickly rather than well. Tests of whole command lines start processes whose programs are
compiled as for users (`tests.support.child.as_for_users`), tests that train for long ask for `optimized`,
and ``JAX_DISABLE_MOST_OPTIMIZATIONS=0``, as in `just test-all`, compiles everything so.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from importlib.metadata import version

from tests.support.child import HASTE

# Read by JAX when it is imported, so set before; the processes that tests start inherit them.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
_FLAGS = [
    "--xla_force_host_platform_device_count=4",
    # On a busy machine four devices on two cores may wait longer for each other than the 40 s after which XLA
    # ends the process.
    "--xla_cpu_collective_call_terminate_timeout_seconds=300",
]
if os.environ["JAX_PLATFORMS"] == "cpu":
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    # Later versions of XLA have no such flag, and one that XLA does not know ends the process.
    if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1" and version("jaxlib").startswith("0.10."):
        _FLAGS.append(HASTE)
_given = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = " ".join([_given, *(f for f in _FLAGS if f.split("=")[0] not in _given)]).strip()

import jax  # noqa: E402
import pytest  # noqa: E402

LONGEST = (
    *(f"tests/training/test_{name}.py" for name in ("nonfinite_terms", "train_tracking", "kill", "train_g1")),
    *(
        "tests/parallel/test_layouts.py",
        "tests/extensions/test_outside.py",
        "tests/isaacgym/test_training.py",
    ),
    *("tests/commands/test_guide.py", "tests/test_notebooks.py"),
    *(f"tests/training/test_{name}.py" for name in ("off_policy", "on_policy", "session")),
    *("tests/rollout/test_fused.py", "tests/rollout/test_off_policy.py", "tests/learn/test_docs.py"),
    *("tests/envs/test_tracking_golden.py", "tests/envs/test_golden_traces.py"),
)
"""Files that take long. Workers begin with them: whoever gets one of them last keeps the others waiting."""

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="session")
def program_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of compiled programs, shared by the workers of pytest-xdist and by the processes that tests start."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return str(folder / "programs")


@pytest.fixture(scope="module", autouse=True)
def forgotten_programs() -> Iterator[None]:
    """Drop compiled programs with the module that needed them: all together take gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture
def optimized() -> Iterator[None]:
    """Programs of the test run as quickly as XLA can make them: for tests that compute more than they compile."""
    before = os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") == "1"
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    jax.clear_caches()


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP have their usual effect in the test and in the processes that it starts.

    Where pytest runs under nohup, or with `&` in a script, it ignores some of them, its children inherit that, and
    a run that is waited for would never stop.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ignored = [number for number in numbers if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def key() -> jax.Array:
    """One random key; split it for more."""
    return jax.random.key(20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and skip what needs a GPU where JAX sees none."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.nodeid.split("::")[0], len(order)))
    if jax.default_backend() == "gpu":
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a GPU; JAX runs on the CPU here"))
