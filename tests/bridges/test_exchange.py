"""Which arrays share memory after crossing, and that overwriting the source cannot spoil a result."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges import exchange

ROOT = Path(__file__).resolve().parents[2]


def address(x: jax.Array) -> int:
    return x.unsafe_buffer_pointer()


def filled(value: float, shape: tuple[int, ...] = (256, 128)) -> np.ndarray:
    (array,) = exchange.empty([shape])
    array.fill(value)
    return array


def test_empty_makes_aligned_disjoint_arrays():
    shapes = [(3,), (5, 7), (), (2, 3, 4)]
    arrays = exchange.empty(shapes)
    for i, array in enumerate(arrays):
        array.fill(i)
    assert [a.shape for a in arrays] == shapes
    assert all(a.dtype == np.float32 and a.flags.c_contiguous for a in arrays)
    assert all(a.ctypes.data % exchange.ALIGNMENT == 0 for a in arrays)
    assert all((a == i).all() for i, a in enumerate(arrays))


def test_overwriting_the_source_shows_in_loans_and_nowhere_else():
    source = filled(1.0)
    loan, copy = exchange.borrow(source), exchange.keep(source)
    derived = jax.block_until_ready(loan + 1.0)
    source.fill(42.0)
    assert address(loan) == source.ctypes.data  # zero-copy, hence:
    np.testing.assert_array_equal(loan, 42.0)
    np.testing.assert_array_equal(copy, 1.0)
    np.testing.assert_array_equal(derived, 2.0)


def test_a_kept_loan_outlives_it():
    source = filled(1.0)
    copy = exchange.keep(exchange.borrow(source))
    source.fill(42.0)
    np.testing.assert_array_equal(copy, 1.0)


def test_memory_that_cannot_be_shared_is_copied():
    raw = np.ones(64 * 1024 + 64, np.uint8)
    start = -raw.ctypes.data % 64 + 4
    source = raw[start : start + 4096].view(np.float32)
    source.fill(1.0)
    loan = exchange.borrow(source)
    source.fill(42.0)
    assert address(loan) != source.ctypes.data
    np.testing.assert_array_equal(loan, 1.0)


def test_other_libraries_lend_through_dlpack():
    class Tensor:  # the two methods that a torch or Warp tensor has, and nothing else
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **kwargs):
            return self.array.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    source = filled(1.0)
    loan = exchange.borrow(Tensor(source))
    source.fill(42.0)
    assert address(loan) == source.ctypes.data
    np.testing.assert_array_equal(loan, 42.0)


def test_given_memory_is_shared_and_never_written_again():
    source = filled(3.0)
    given = exchange.give(source)
    assert address(given) == source.ctypes.data
    with pytest.raises(ValueError, match="read-only"):
        source.fill(42.0)
    np.testing.assert_array_equal(given, 3.0)


def test_given_memory_outlives_its_producer():
    given = [exchange.give(filled(float(i), (1000,))) for i in range(50)]
    gc.collect()
    rubbish = [np.full(1016, -1.0, np.float32) for _ in range(200)]
    assert all((np.asarray(g) == i).all() for i, g in enumerate(given)) and rubbish


def test_exit_with_work_under_way_is_clean():
    """A process that ends while JAX still reads given memory ends with code 0, not with an abort."""
    code = (
        "import jax, jax.numpy as jnp\nfrom bridges import exchange\n"
        "run = jax.jit(lambda x: jax.lax.fori_loop(0, 50, lambda _, y: jnp.sin(y) + x, x).sum())\n"
        "for i in range(20):\n"
        "    (source,) = exchange.empty([(256, 128)])\n"
        "    source.fill(i)\n"
        "    result = run(exchange.give(source))\n"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_donating_a_given_array_is_safe():
    source = filled(3.0)
    given = exchange.give(source)
    out = jax.jit(lambda x: x + 1.0, donate_argnums=0)(given)
    np.testing.assert_array_equal(out, 4.0)


@pytest.fixture(scope="module")
def slow_sum():
    """A computation that is still running, or has not begun, when the call returns."""

    @jax.jit
    def run(x):
        y = jax.lax.fori_loop(0, 20, lambda _, y: jnp.sin(y) + x, jnp.zeros_like(x))
        return y.sum() + x.sum()

    run(jnp.zeros((256, 128)))
    return run


def test_dispatch_then_overwrite_under_the_borrow_rule(slow_sum):
    """The rule: fetch a result of all that reads the loan, then let the owner write."""
    wrong, source = 0, filled(0.0)
    for i in range(50):
        source.fill(i)
        result = jax.block_until_ready(slow_sum(exchange.borrow(source)))
        source.fill(-1e6)
        wrong += float(result) != float(slow_sum(jnp.full((256, 128), float(i))))
    assert wrong == 0


def test_dispatch_then_produce_the_next_under_give(slow_sum):
    """No rule to follow: the producer continues at once, in new memory."""
    results = []
    for i in range(50):
        results.append(slow_sum(exchange.give(filled(float(i)))))
        filled(-1e6)  # the producer's next array
    wanted = [slow_sum(jnp.full((256, 128), float(i))) for i in range(50)]
    assert [float(r) for r in results] == [float(w) for w in wanted]


def test_arrays_follow_the_default_device():
    second = jax.local_devices()[1]
    with jax.default_device(second):
        given = exchange.give(filled(2.0))
        loan = exchange.borrow(filled(2.0))
    assert given.devices() == loan.devices() == {second}
    np.testing.assert_array_equal(given, loan)
