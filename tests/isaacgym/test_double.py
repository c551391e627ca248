"""The double itself refuses what IsaacGym would take, and then compute something else."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridges.isaacgym.asset import robot_urdf
from holosoma_jax.robots.robot import Robot
from tests.support.isaacgym_python import DOUBLES

MODULES = ("isaacgym", "isaacgym.gymapi", "isaacgym._gym", "isaacgym._tensors", "isaacgym._model")


@pytest.fixture
def gymapi(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(DOUBLES))
    yield importlib.import_module("isaacgym.gymapi")
    for name in MODULES:
        sys.modules.pop(name, None)


class Scene:
    """Two bipeds in the air, one actor each."""

    def __init__(self, gymapi: Any, folder: Path, robot: Robot, *, gpu: bool = False):
        self.api, self.gym = gymapi, gymapi.acquire_gym()
        (folder / "robot.urdf").write_text(robot_urdf(robot))
        params = gymapi.SimParams()
        params.dt, params.up_axis, params.gravity = 0.005, gymapi.UP_AXIS_Z, gymapi.Vec3(0.0, 0.0, -9.81)
        params.substeps = 1
        params.use_gpu_pipeline = params.physx.use_gpu = gpu
        self.sim = self.gym.create_sim(0, -1, gymapi.SIM_PHYSX, params)
        plane = gymapi.PlaneParams()
        plane.normal = gymapi.Vec3(0.0, 0.0, 1.0)
        self.gym.add_ground(self.sim, plane)
        options = gymapi.AssetOptions()
        options.replace_cylinder_with_capsule, options.angular_damping = True, 0.0
        asset = self.gym.load_asset(self.sim, str(folder), "robot.urdf", options)
        pose = gymapi.Transform()
        pose.p = gymapi.Vec3(0.0, 0.0, 5.0)
        self.bodies, self.envs = self.gym.get_asset_rigid_body_names(asset), []
        for i in range(2):
            env = self.gym.create_env(self.sim, gymapi.Vec3(), gymapi.Vec3(), 2)
            self.gym.create_actor(env, asset, pose, "robot", i, 1, 0)
            self.envs.append(env)

    def prepare(self) -> None:
        self.gym.prepare_sim(self.sim)
        for name in ("actor_root_state", "dof_state", "rigid_body_state", "net_contact_force"):
            getattr(self.gym, f"refresh_{name}_tensor")(self.sim)

    def tensor(self, name: str) -> np.ndarray:
        getattr(self.gym, f"refresh_{name}_tensor")(self.sim)
        return self.sim.tensors[name]

    def describe(self, array: np.ndarray) -> Any:
        descriptor, kinds = self.api.Tensor(), {"float32": 1, "int32": 2, "int64": 3}
        descriptor.data_address, descriptor.shape = array.ctypes.data, array.shape
        descriptor.dtype, descriptor.device = (
            self.api.TensorDataType(kinds[array.dtype.name]),
            self.sim.device,
        )
        return descriptor

    def set_roots(self, rows: np.ndarray, index: np.ndarray) -> None:
        self.gym.set_actor_root_state_tensor_indexed(
            self.sim, self.describe(rows), self.describe(index), len(index)
        )

    def simulate(self) -> None:
        self.gym.simulate(self.sim)
        if not self.sim.gpu:
            self.gym.fetch_results(self.sim, True)


@pytest.fixture
def scene(gymapi: Any, tmp_path: Path, robot: Robot) -> Scene:
    return Scene(gymapi, tmp_path, robot)


FIRST = np.array([0], np.int32)


def test_roots_are_x_y_z_w_and_move_with_the_centre_of_mass(scene: Scene):
    gym, env = scene.gym, scene.envs[0]
    base = scene.bodies.index("torso")
    bodies = gym.get_actor_rigid_body_properties(env, 0)
    bodies[base].com = scene.api.Vec3(0.1, 0.0, 0.0)
    gym.set_actor_rigid_body_properties(env, 0, bodies, False)
    scene.prepare()
    rows = scene.tensor("actor_root_state").copy()
    half = np.sqrt(0.5)
    rows[0, 3:7] = [0, 0, half, half]  # a quarter turn to the left
    rows[0, 7:10] = [0, 0, 0]  # the centre of mass, 0.1 m along the world's y now, rests ...
    rows[0, 10:13] = [0, 0, 2]  # ... while the torso spins at 2 rad/s
    scene.set_roots(rows, FIRST)
    scene.simulate()
    data = env.data
    np.testing.assert_allclose(data.qpos[3:7], [half, 0, 0, half], atol=0.01)
    # link's origin: v = -w x (0, 0.1, 0) = -(2 * -0.1, 0, 0)
    assert data.qvel[0] == pytest.approx(0.2, abs=0.01)


def test_links_and_contacts_are_those_of_the_last_simulate(scene: Scene):
    scene.prepare()
    scene.simulate()
    before = scene.tensor("rigid_body_state").copy()
    rows = scene.tensor("actor_root_state").copy()
    rows[0, 2] = 9.0
    scene.set_roots(rows, FIRST)
    np.testing.assert_array_equal(scene.tensor("rigid_body_state"), before)
    scene.simulate()
    moved = scene.tensor("rigid_body_state")[: len(scene.bodies), 2] - before[: len(scene.bodies), 2]
    np.testing.assert_allclose(moved, 4.0, atol=0.02)


def test_one_indexed_write_of_a_tensor_a_step(scene: Scene):
    scene.prepare()
    rows = scene.tensor("actor_root_state").copy()
    scene.set_roots(rows, FIRST)
    with pytest.raises(RuntimeError, match="twice before simulate"):
        scene.set_roots(rows, FIRST + np.int32(1))
    scene.simulate()
    scene.set_roots(rows, FIRST)


def test_indices_are_int32_and_tensors_on_the_right_device(scene: Scene):
    scene.prepare()
    rows = scene.tensor("actor_root_state").copy()
    with pytest.raises(RuntimeError, match="DTYPE_UINT64"):
        scene.set_roots(rows, FIRST.astype(np.int64))
    with pytest.raises(RuntimeError, match="shape"):
        scene.set_roots(rows[:1].copy(), FIRST)
    scene.sim.device = 0
    described = scene.describe(rows)
    scene.sim.device = -1
    with pytest.raises(RuntimeError, match="device 0, wanted -1"):
        scene.gym.set_actor_root_state_tensor_indexed(scene.sim, described, scene.describe(FIRST), 1)


def test_the_order_of_calls(scene: Scene):
    gym, sim = scene.gym, scene.sim
    with pytest.raises(RuntimeError, match="before prepare_sim"):
        gym.acquire_dof_state_tensor(sim)
    gym.prepare_sim(sim)
    with pytest.raises(RuntimeError, match="before the first refresh"):
        gym.acquire_dof_state_tensor(sim)
    gym.refresh_dof_state_tensor(sim)
    gym.acquire_dof_state_tensor(sim)
    gym.simulate(sim)
    with pytest.raises(RuntimeError, match="before fetch_results"):
        gym.refresh_dof_state_tensor(sim)
    with pytest.raises(RuntimeError, match="create_env after"):
        gym.create_env(sim, scene.api.Vec3(), scene.api.Vec3(), 1)


def test_the_gpu_pipeline_fixes_properties_and_fetches_nothing(gymapi: Any, tmp_path: Path, robot: Robot):
    scene = Scene(gymapi, tmp_path, robot, gpu=True)
    gym, env = scene.gym, scene.envs[0]
    bodies = gym.get_actor_rigid_body_properties(env, 0)
    gym.set_actor_rigid_body_properties(env, 0, bodies, False)
    scene.prepare()
    for call, given in (
        (gym.set_actor_rigid_body_properties, bodies),
        (gym.set_actor_rigid_shape_properties, gym.get_actor_rigid_shape_properties(env, 0)),
        (gym.set_actor_dof_properties, gym.get_actor_dof_properties(env, 0)),
    ):
        with pytest.raises(RuntimeError, match="after prepare_sim"):
            call(env, 0, given)
    gym.simulate(scene.sim)
    with pytest.raises(RuntimeError, match="fetch_results"):
        gym.fetch_results(scene.sim, True)


def test_torch_first_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(DOUBLES))
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    with pytest.raises(ImportError, match="before isaacgym"):
        importlib.import_module("isaacgym.gymapi")


def test_attributes_and_enumerations_are_checked(gymapi: Any):
    params = gymapi.SimParams()
    with pytest.raises(TypeError, match="contact_collection"):
        params.physx.contact_collection = 1
    with pytest.raises(AttributeError, match="num_iterations"):
        params.physx.num_iterations = 4
