"""The model of an iteration's time: its arithmetic, what it reads from logs, and messages counted in programs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from benchmarks import messages, scaling, scaling_model
from benchmarks.scaling_model import Line, Link, Messages


def test_a_fixed_part_is_not_divided_among_cores():
    line = scaling_model.line(half=3.0, whole=5.0, num_envs=100)  # 1 s, and 4 s for 100 environments
    assert line == Line(1.0, 0.04)
    assert line.seconds(100, cores=4) == pytest.approx(2.0)
    assert line.seconds(200) == pytest.approx(9.0)


def test_noise_makes_no_negative_part():
    assert scaling_model.line(half=2.0, whole=5.0, num_envs=10) == Line(0.0, 0.5)
    assert scaling_model.line(half=5.0, whole=4.0, num_envs=10) == Line(4.0, 0.0)


def test_a_ring_of_many_sends_twice_what_there_is():
    link, sent = Link(latency=0.5, bandwidth=10.0), Messages(number=4, size=100)
    assert link.seconds(sent, 1) == 0.0
    assert link.seconds(sent, 2) == pytest.approx(4 * 0.5 + 10.0)
    assert link.seconds(sent, 10**9) == pytest.approx(4 * 0.5 + 20.0)


def test_processes_share_the_environments_and_wait_for_each_other():
    parts = {name: Line(1.0, 0.1) for name in scaling_model.PIECES}
    got = scaling_model.in_processes(parts, 100, 2, Messages(1, 0), Link(0.25, 1.0))
    assert got == pytest.approx(3 * (1.0 + 5.0) + 0.25)


def test_a_machine_of_its_own_does_not_use_the_far_link():
    near, far, sent = Link(0.1, 1e9), Link(10.0, 1e9), Messages(1, 0)
    assert scaling_model.efficiency(1.0, sent, near, far, 8, together=8) == pytest.approx(1.0 / 1.1)
    assert scaling_model.efficiency(1.0, sent, near, far, 9, together=8) == pytest.approx(1.0 / 11.1)


def test_messages_are_counted_through_loops_and_the_costlier_branch():
    def program(x, flag):
        def body(x, _):
            return jax.lax.psum(x, "devices") / 2.0, None

        x, _ = jax.lax.scan(body, x, None, length=5)
        often = jax.jit(lambda x: jax.lax.psum(jax.lax.pmax(x, "devices"), "devices"))
        return jax.lax.cond(flag, often, lambda x: x, x)

    traced = jax.make_jaxpr(program, axis_env=[("devices", 2)])(jnp.zeros(3), True)
    assert messages.count_in(traced.jaxpr) == Messages(5 + 2, 7 * 3 * 4)


def test_messages_in_an_endless_loop_are_refused():
    def program(x):
        return jax.lax.while_loop(lambda x: x[0] < 1.0, lambda x: jax.lax.psum(x, "devices"), x)

    traced = jax.make_jaxpr(program, axis_env=[("devices", 2)])(jnp.zeros(3))
    with pytest.raises(ValueError, match="unknown length"):
        messages.count_in(traced.jaxpr)


def test_an_iteration_is_the_median_of_the_log_lines_after_the_first():
    rows = [
        {
            "step": 10 * i,
            "Train/num_samples": 1000.0 * i,
            "Perf/total_fps": 1000.0 / seconds,
            "Perf/physics_time": 0.5 * seconds,
            "Perf/collection_time": 0.75 * seconds,
            "Perf/learning_time": 0.25 * seconds,
        }
        for i, seconds in enumerate((90.0, 90.0, 10.0, 20.0, 70.0))
    ]
    got = scaling.median_iteration(rows, skip=10)
    assert got == pytest.approx({"physics": 1.0, "environment": 0.5, "learning": 0.5, "all": 2.0})
