"""Acting, storing and learning for a long time needs no more memory than doing so once."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn import fast_sac, replay
from tests.support import small_sac

STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="reads the process's memory from /proc")
def test_ten_thousand_steps() -> None:
    cfg = small_sac.config(num_updates=1, policy_frequency=2, batch_size=4)

    def step(
        learner: fast_sac.FastSacState, buffer: replay.Replay, key: jax.Array
    ) -> tuple[fast_sac.FastSacState, replay.Replay]:
        obs = {"actor_obs": jnp.ones((4, 3)), "critic_obs": jnp.ones((4, 4))}
        action, _ = fast_sac.act(learner, obs, key)
        no, yes = jnp.zeros(4, bool), jnp.ones(4, bool)
        transition = replay.Transition(
            *obs.values(), action, action[:, 0], no, no, obs["actor_obs"], obs["critic_obs"], yes
        )
        buffer = replay.write(buffer, transition)
        batch = replay.sample(buffer, key, cfg)
        return fast_sac.update(learner, batch, key)[0], buffer

    run = jax.jit(step, donate_argnums=(0, 1))
    learner = small_sac.learner(num_updates=1, policy_frequency=2, batch_size=4)
    buffer = replay.init(cfg, small_sac.SPEC, num_envs=4)
    held, resident = [], []
    for i in range(10_000):
        learner, buffer = run(learner, buffer, jax.random.key(i))
        if i in (999, 9_999):
            jax.block_until_ready(learner)
            held.append(len(jax.live_arrays()))
            resident.append(resident_bytes())
    assert int(buffer.ptr) == int(learner.updates) == 10_000
    assert held[0] == held[1]
    assert resident[1] - resident[0] < 2**24, np.diff(resident)
