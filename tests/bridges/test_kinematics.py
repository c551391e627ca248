"""Forward kinematics against MuJoCo's own, on robots and on trees that robots seldom have."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from bridges import kinematics
from holosoma_jax import robots

ODD = """
<mujoco>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body name="loose" pos="3 3 3"><freejoint/><geom size=".1"/></body>
    <body name="trunk"><freejoint/><geom size=".1"/>
      <body name="turned" pos=".1 .2 .3" quat=".5 .5 -.5 .5"><geom size=".1"/>
        <body name="two" pos="0 .1 0" quat="0 1 0 0">
          <joint name="a" axis="1 2 3" pos=".05 -.1 .2"/><joint name="b" axis="0 1 0" pos=".3 0 0" ref="0.4"/>
          <geom size=".1"/>
          <body name="slider" pos="0 0 .2" euler="20 30 40">
            <joint name="c" type="slide" axis="0 3 4" ref="0.1"/><geom size=".1"/>
            <body name="tip" pos="0 0 .1"><joint name="d" axis="1 0 0"/><geom size=".1"/></body>
          </body>
        </body>
      </body>
      <body name="unasked"><joint name="e" type="ball"/><geom size=".1"/></body>
    </body>
  </worldbody>
</mujoco>
"""
NAMES = ("tip", "trunk", "slider", "turned", "two")


def random_motion(model, num, seed):
    rng = np.random.default_rng(seed)
    qpos, qvel = rng.normal(size=(num, model.nq)), 3 * rng.normal(size=(num, model.nv))
    for joint in range(model.njnt):
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            at = model.jnt_qposadr[joint] + 3
            qpos[:, at : at + 4] /= np.linalg.norm(qpos[:, at : at + 4], axis=1, keepdims=True)
    return qpos.astype(np.float32), qvel.astype(np.float32)


def expected(model, qpos, qvel, names):
    data, velocity = mujoco.MjData(model), np.zeros(6)
    rows = []
    for q, v in zip(qpos, qvel, strict=True):
        data.qpos[:], data.qvel[:] = q, v
        mujoco.mj_forward(model, data)
        for name in names:
            body = data.body(name)
            mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, body.id, velocity, 0)
            rows.append(np.concatenate([body.xpos, body.xquat, velocity[3:], velocity[:3]]))
    return np.split(np.reshape(rows, (len(qpos), len(names), 13)), [3, 7, 10], axis=-1)


def check(model, root, names):
    free = model.joint(int(model.body(root).jntadr[0])).qposadr[0]
    qpos, qvel = random_motion(model, 5, seed=3)
    tree = kinematics.tree(model, root, names)
    got = jax.jit(lambda q, v: kinematics.links(tree, q, v))(jnp.asarray(qpos), jnp.asarray(qvel))
    assert free == 0
    for name, mine, theirs in zip(got._fields, got, expected(model, qpos, qvel, names), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("name", ["g1", "t1", "k1"])
def test_robots_move_as_mujoco_says(name):
    robot = robots.load(name)
    check(mujoco.MjModel.from_xml_path(str(robot.mjcf)), robot.root_body, robot.body_names)


def test_anchors_slides_references_and_several_joints_in_one_body():
    spec = mujoco.MjSpec.from_string(ODD)
    spec.delete(spec.body("loose"))
    check(spec.compile(), "trunk", NAMES)


def test_far_from_the_origin_nothing_is_lost():
    """Relative to the root, positions are as exact at 500 m as at 0."""
    robot = robots.load("g1")
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    tree = kinematics.tree(model, robot.root_body, robot.body_names)
    qpos, qvel = random_motion(model, 4, seed=1)
    away = qpos + np.float32(500) * (np.arange(model.nq) < 2).astype(np.float32)
    near, far = (kinematics.links(tree, jnp.asarray(q), jnp.asarray(qvel)) for q in (qpos, away))
    for one, other in zip(near[1:], far[1:], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(far.pos - away[:, None, :3], near.pos - qpos[:, None, :3], atol=2.0**-15)


def test_what_it_cannot_follow_is_named():
    model = mujoco.MjModel.from_xml_string(ODD)
    with pytest.raises(ValueError, match=r"'loose'.*'trunk'"):
        kinematics.tree(model, "trunk", ["tip", "loose"])
    with pytest.raises(ValueError, match=r"'e'.*'unasked'"):
        kinematics.tree(model, "trunk", ["unasked"])
