"""The compiled model: rates, control from the record, collision classes, the ground's exact shape."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from bridges.mujoco import model as mujoco_model
from bridges.protocol import Ground
from tests.support.biped import BIPED, config, start


def build(**settings):
    return mujoco_model.build(BIPED, Ground(), config(**settings))


def test_rates_and_solver_are_the_configs():
    model = build(fps=500, integrator="implicitfast", iterations=7, ls_iterations=9)
    assert model.opt.timestep == pytest.approx(0.002)
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    assert model.opt.solver == mujoco.mjtSolver.mjSOL_NEWTON
    assert model.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL
    assert (model.opt.iterations, model.opt.ls_iterations, model.opt.impratio) == (7, 9, 1.0)
    assert build().opt.integrator == mujoco.mjtIntegrator.mjINT_EULER


def test_control_is_the_records():
    model = build()
    assert [model.actuator(i).name for i in range(model.nu)] == list(BIPED.joint_names)
    assert [model.joint(model.actuator(i).trnid[0]).name for i in range(5)] == list(BIPED.joint_names)
    np.testing.assert_allclose(model.actuator_gainprm[:, 0], BIPED.kp)
    np.testing.assert_allclose(model.actuator_biasprm[:, 1], -BIPED.kp)
    np.testing.assert_allclose(model.actuator_biasprm[:, 2], -BIPED.kd)
    np.testing.assert_allclose(model.actuator_forcerange[:, 1], BIPED.torque_limit)
    assert model.actuator_forcelimited.all() and not model.actuator_ctrllimited.any()
    assert not model.jnt_actfrclimited.any()  # or torques would be clipped twice
    for name, armature in zip(BIPED.joint_names, BIPED.armature, strict=True):
        assert model.joint(name).armature[0] == pytest.approx(armature)


def test_visual_geoms_cost_nothing():
    names = {build().geom(i).name for i in range(build().ngeom)}
    assert "paint" not in names and "trunk" in names


@pytest.mark.parametrize("self_collisions", [False, True])
def test_collision_classes(self_collisions):
    model = mujoco_model.build(BIPED, Ground(), config(), self_collisions=self_collisions)
    floor, robot = model.geom(mujoco_model.FLOOR), np.arange(model.ngeom) != model.geom("floor").id
    assert (floor.contype[0], floor.conaffinity[0]) == (2, 1)
    assert set(model.geom_contype[robot]) == {1}
    assert set(model.geom_conaffinity[robot]) == {3 if self_collisions else 2}
    assert floor.priority[0] < model.geom_priority[robot].min()


def height(ground: Ground, x: float, y: float) -> float:
    """The surface by the rule of `Ground`: cells split from (i, j) to (i + 1, j + 1)."""
    assert ground.heights is not None
    u, v = (x - ground.corner[0]) / ground.cell, (y - ground.corner[1]) / ground.cell
    i, j = min(int(u), ground.heights.shape[0] - 2), min(int(v), ground.heights.shape[1] - 2)
    u, v = u - i, v - j
    (a, c), (b, d) = ground.heights[i : i + 2, j : j + 2].astype(float)  # c: one up y, b: one up x
    return a + u * (b - a) + v * (d - b) if u >= v else a + v * (c - a) + u * (d - c)


ROUGH = Ground(
    heights=np.random.default_rng(3).uniform(-0.07, 0.02, (7, 5)).astype(np.float32),
    cell=0.1,
    corner=(-2.0, 3.0),
)


def ray_heights(model: mujoco.MjModel, points: np.ndarray) -> np.ndarray:
    data, geom = mujoco.MjData(model), np.zeros(1, np.int32)
    data.qpos[:3] = 100.0, 0.0, 50.0  # the robot out of the way
    mujoco.mj_kinematics(model, data)
    down = np.array([0.0, 0.0, -1.0])
    return np.array(
        [10.0 - mujoco.mj_ray(model, data, np.array([*p, 10.0]), down, None, 1, -1, geom) for p in points]
    )


def test_height_field_is_the_ground_at_its_samples():
    model = mujoco_model.build(BIPED, ROUGH, config())
    assert ROUGH.heights is not None
    inset = 1e-9  # rays at the very edge may miss
    for (i, j), z in np.ndenumerate(ROUGH.heights):
        x = np.clip(-2.0 + 0.1 * i, -2.0 + inset, -1.4 - inset)
        y = np.clip(3.0 + 0.1 * j, 3.0 + inset, 3.4 - inset)
        np.testing.assert_allclose(ray_heights(model, np.array([[x, y]])), z, atol=1e-6)


def test_height_field_is_the_ground_between_its_samples():
    model = mujoco_model.build(BIPED, ROUGH, config())
    points = np.random.default_rng(0).uniform([-2.0, 3.0], [-1.4, 3.4], (200, 2))
    np.testing.assert_allclose(ray_heights(model, points), [height(ROUGH, *p) for p in points], atol=1e-6)


def test_contacts_lie_on_the_ground_that_rays_hit():
    """A sole just below the surface touches it, one just above does not."""
    model, touch = mujoco_model.build(BIPED, ROUGH, config()), 1e-4
    model.geom_size[1:] = 1e-5  # points
    model.geom_conaffinity[2:] = model.geom_contype[2:] = 0  # one of them
    data = mujoco.MjData(model)
    for x, y in np.random.default_rng(1).uniform([-1.95, 3.05], [-1.45, 3.35], (20, 2)):
        found = []
        for offset in (touch, -touch):
            data.qpos[:3] = 0.0, 0.0, 0.0
            mujoco.mj_kinematics(model, data)
            data.qpos[:3] = np.array([x, y, height(ROUGH, x, y) + offset]) - data.geom_xpos[1]
            mujoco.mj_fwdPosition(model, data)
            found.append(data.ncon)
        assert found[0] == 0 and found[1] > 0, (x, y)


def test_flat_height_field_is_flat():
    ground = Ground(heights=np.full((4, 3), 0.25, np.float32), cell=1.0)
    model = mujoco_model.build(BIPED, ground, config())
    np.testing.assert_allclose(ray_heights(model, np.array([[0.5, 0.5], [2.9, 1.9]])), 0.25, atol=1e-6)


@pytest.mark.parametrize(
    "heights",
    [np.zeros((1, 5)), np.zeros(4), np.array([[0.0, np.nan], [0.0, 0.0]])],
)
def test_bad_grounds_are_refused(heights):
    with pytest.raises(ValueError, match=r"^ground.heights: got .*wanted .*2 x 2"):
        mujoco_model.build(BIPED, Ground(heights=heights), config())


def test_a_joint_that_the_model_lacks_is_named():
    robot = replace(BIPED, joint_names=("left_hip", "right_hip", "left_ankle", "right_ankle", "tail"))
    with pytest.raises(ValueError, match="joint 'tail'"):
        start(1, robot=robot)


def test_a_robot_that_is_fixed_to_the_world_is_freed(tmp_path):
    text = BIPED.mjcf.read_text().replace('<freejoint name="root"/>', "")
    text = text.replace("<key ", "<!--<key ").replace('ctrl="0"/>', 'ctrl="0"/>-->')
    (tmp_path / "fixed.xml").write_text(text)
    model = mujoco_model.build(replace(BIPED, mjcf=tmp_path / "fixed.xml"), Ground(), config())
    assert model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE and model.nq == 7 + 5
