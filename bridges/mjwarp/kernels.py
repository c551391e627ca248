"""What a control step needs beside MuJoCo Warp's own kernels."""

from __future__ import annotations

import warp as wp

HUGE = wp.constant(1e10)
"""coordinates and speeds beyond this count as diverged; MuJoCo's own bound"""


@wp.kernel(enable_backward=False)
def hang(
    anchor: wp.array(dtype=wp.vec3, ndim=1),  # type: ignore[valid-type]
    length: wp.array(dtype=wp.float32, ndim=1),  # type: ignore[valid-type]
    stiffness: wp.float32,
    damping: wp.float32,
    body: wp.int32,
    qpos: wp.array(dtype=wp.float32, ndim=2),  # type: ignore[valid-type]
    qvel: wp.array(dtype=wp.float32, ndim=2),  # type: ignore[valid-type]
    force: wp.array(dtype=wp.spatial_vector, ndim=2),  # type: ignore[valid-type]
):
    """Before every physics sub-step, one thread an environment: `bridges.mujoco.gantry.tension` on the link held."""
    env = wp.tid()
    rope = anchor[env] - wp.vec3(qpos[env, 0], qpos[env, 1], qpos[env, 2])
    velocity = wp.vec3(qvel[env, 0], qvel[env, 1], qvel[env, 2])
    distance = wp.length(rope)
    direction = rope / wp.max(distance, 1.0e-6)
    speed = velocity[0] * direction[0] + velocity[1] * direction[1] + velocity[2] * direction[2]
    pull = wp.float32(0.0)
    if distance > length[env]:
        pull = wp.max(stiffness * (distance - length[env]) - damping * speed, 0.0)
    for i in range(3):
        force[env, body][i] = pull * direction[i]


@wp.kernel(enable_backward=False)
def park_diverged(
    parked: wp.array(dtype=wp.float32, ndim=1),  # type: ignore[valid-type]
    nefc: wp.array(dtype=wp.int32, ndim=1),  # type: ignore[valid-type]
    nacon: wp.array(dtype=wp.int32, ndim=1),  # type: ignore[valid-type]
    ncollision: wp.array(dtype=wp.int32, ndim=1),  # type: ignore[valid-type]
    qpos: wp.array(dtype=wp.float32, ndim=2),  # type: ignore[valid-type]
    qvel: wp.array(dtype=wp.float32, ndim=2),  # type: ignore[valid-type]
    warmstart: wp.array(dtype=wp.float32, ndim=2),  # type: ignore[valid-type]
    diverged: wp.array(dtype=wp.int32, ndim=1),  # type: ignore[valid-type]
    rows: wp.array(dtype=wp.int32, ndim=1),  # type: ignore[valid-type]
    contacts: wp.array(dtype=wp.int32, ndim=1),  # type: ignore[valid-type]
):
    """After every physics sub-step, one thread an environment: keep it finite, note what it needed.

    A diverged environment is marked, and parked where it touches nothing: a NaN must not reach the
    next sub-step's collision detection, which computes indices from positions.
    """
    env = wp.tid()
    bad = wp.int32(0)  # a plain literal would be a constant to Warp
    for i in range(qpos.shape[1]):
        if not wp.isfinite(qpos[env, i]) or wp.abs(qpos[env, i]) > HUGE:
            bad = 1
    for i in range(qvel.shape[1]):
        if not wp.isfinite(qvel[env, i]) or wp.abs(qvel[env, i]) > HUGE:
            bad = 1
        if not wp.isfinite(warmstart[env, i]):
            bad = 1
    if bad == 1:
        diverged[env] = 1
        for i in range(qpos.shape[1]):
            qpos[env, i] = parked[i]
        for i in range(qvel.shape[1]):
            qvel[env, i] = 0.0
            warmstart[env, i] = 0.0
    rows[env] = wp.max(rows[env], nefc[env])
    if env == 0:
        contacts[0] = wp.max(contacts[0], wp.max(nacon[0], ncollision[0]))
