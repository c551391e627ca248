"""Where episodes start: the clearance under the feet is the specification's, on flat and rough ground."""

from __future__ import annotations

import jax
import mujoco
import numpy as np
import pytest

from bridges.mujoco import model as mujoco_model
from bridges.protocol import BridgeSpec, PhysicsParams, Pose
from holosoma_jax import envs, robots
from holosoma_jax.config import compose
from holosoma_jax.config.schema import Config
from holosoma_jax.envs import terrain
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.robots.robot import Robot

NUM = 2048
QUANTUM = 0.005  # m: heights are cut to multiples of it, tile origins are not
CLEARANCE = {"g1-29dof": (0.0, 0.069, 0.026), "t1-29dof": (-0.032, 0.013, -0.011)}
"""preset -> lowest, highest and mean gap in m between the lowest foot point and flat ground, 2,000
resets of holosoma"""


def spawn(*argv: str) -> tuple[Config, Robot, Terrain, Pose]:
    """First poses of NUM environments."""
    cfg = compose.load([*argv, f"--training.num-envs={NUM}"])
    robot = robots.configure(robots.load(cfg.robot.asset), cfg.robot)
    ground = terrain.build(cfg.terrain, cfg.training.seed)
    spec = BridgeSpec(
        "test", NUM, robot.joint_names, robot.body_names, 0.005, 4, frozenset(PhysicsParams._fields)
    )
    env = envs.make(cfg, robot, ground, spec)
    _, reset = jax.jit(env.init)(jax.random.key(5))
    return cfg, robot, ground, jax.tree.map(np.asarray, reset.pose)


def depths(cfg: Config, robot: Robot, ground: Terrain, pose: Pose) -> np.ndarray:
    """[NUM] m: how deep the robot is in the ground, 0 where it is not, by MuJoCo's own contacts."""
    model = mujoco_model.build(robot, ground.ground, cfg.simulator)
    data, found = mujoco.MjData(model), np.zeros(NUM)
    joints = [model.joint(name).qposadr[0] for name in robot.joint_names]
    for i in range(NUM):
        data.qpos[:3], data.qpos[3:7] = pose.root_pos[i], pose.root_quat[i]
        data.qpos[joints] = pose.joint_pos[i]
        mujoco.mj_fwdPosition(model, data)
        found[i] = max(0.0, -min(data.contact.dist, default=0.0))
    return found


def gaps(cfg: Config, robot: Robot, pose: Pose) -> np.ndarray:
    """[NUM] m between the lowest point of the feet's geoms and the plane z = 0; negative inside."""
    model = mujoco_model.build(robot, terrain.build(cfg.terrain, 0).ground, cfg.simulator)
    data, found = mujoco.MjData(model), np.zeros(NUM)
    joints = [model.joint(name).qposadr[0] for name in robot.joint_names]
    feet = [model.body(name).id for name in robot.feet_bodies]
    geoms = np.flatnonzero(np.isin(model.geom_bodyid, feet))
    assert geoms.size
    for i in range(NUM):
        data.qpos[:3], data.qpos[3:7] = pose.root_pos[i], pose.root_quat[i]
        data.qpos[joints] = pose.joint_pos[i]
        mujoco.mj_kinematics(model, data)
        found[i] = min(data.geom_xpos[g, 2] - _reach(model, data, g) for g in geoms)
    return found


def _reach(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> float:
    """How far `geom` reaches below its centre, in m."""
    size, down = model.geom_size[geom], np.abs(data.geom_xmat[geom].reshape(3, 3)[2])
    match mujoco.mjtGeom(model.geom_type[geom]):
        case mujoco.mjtGeom.mjGEOM_SPHERE:
            return size[0]
        case mujoco.mjtGeom.mjGEOM_CAPSULE:
            return size[0] + size[1] * down[2]
        case mujoco.mjtGeom.mjGEOM_BOX:
            return size @ down
        case kind:
            raise NotImplementedError(kind)


@pytest.mark.parametrize("preset", CLEARANCE)
def test_clearance_on_flat_ground_is_holosomas(preset: str) -> None:
    cfg, robot, _, pose = spawn(f"exp:{preset}", "terrain:terrain-locomotion-plane")
    gap, (low, high, mean) = gaps(cfg, robot, pose), CLEARANCE[preset]
    assert gap.min() > low - 0.004 and gap.max() < high + 0.004  # the tails of other draws
    np.testing.assert_allclose(gap.mean(), mean, atol=0.002)


@pytest.mark.parametrize("preset", ["g1-29dof", "t1-29dof", "k1-22dof"])
@pytest.mark.parametrize("ground", ["plane", "mix"])
def test_no_robot_starts_deeper_in_the_ground_than_on_the_flat(preset: str, ground: str) -> None:
    cfg, robot, built, pose = spawn(f"exp:{preset}", f"terrain:terrain-locomotion-{ground}")
    allowed = max(0.0, -CLEARANCE.get(preset, (0.0,))[0]) + (QUANTUM if ground == "mix" else 0.004)
    deep = depths(cfg, robot, built, pose)
    assert deep.max() < allowed, f"{deep.max():.4f} m at environment {deep.argmax()}"


def test_robots_start_over_their_own_tiles_and_within_the_offset() -> None:
    _, robot, built, pose = spawn("exp:g1-29dof")
    tile = np.floor(pose.root_pos[:, :2] / 8.0)
    offset = pose.root_pos[:, :2] - (tile + 0.5) * 8.0
    assert np.abs(offset).max() <= 1.0
    assert tile[:, 0].min() == 0 and tile[:, 0].max() == 9
    np.testing.assert_array_equal(np.bincount(tile[:, 1].astype(int), minlength=20) > 0, True)
    over_ground = pose.root_pos[:, 2] - np.asarray(built.height(pose.root_pos[:, :2]))
    assert over_ground.min() > robot.init_pos[2] - QUANTUM
