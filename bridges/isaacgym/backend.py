"""The worker's side: IsaacGym (Preview 4) behind the calls of `bridges.isaacgym.bridge`.

One file without imports of the project, for IsaacGym's own Python (3.6 to 3.8 have binaries; 3.8 is used).
The state in shared memory is in the project's conventions: quaternions w x y z, velocities at the link's
origin, the robot's order of joints and bodies. IsaacGym has x y z w, velocities of the centre of mass, and
the importer's order. All of that is converted here and nowhere else.

On the CPU pipeline the tensors are host memory and NumPy works on them; on the GPU pipeline it is torch,
which IsaacGym requires anyway and which must be imported after it.
"""

from __future__ import annotations

import ctypes
from typing import Any

from isaacgym import gymapi  # type: ignore  # isort: skip  (before NumPy and torch)
import numpy as np

OFFSET, WRITE = 1, 2
"""Flags of `step`: a torque offset is given; some rows of the state are new to the simulator."""
FIELDS = ("mass_ratio", "com_offset", "friction", "kp_scale", "kd_scale", "armature_ratio")
"""Of the bridges' `PhysicsParams`; bit i of the flags of `randomize` stands for field i."""
GAINS = ("kp_scale", "kd_scale")
GROUND_FRICTION = 0.0
"""PhysX takes the mean of the two materials, so that a robot's 2 mu gives mu in force."""
ENOUGH_EFFORT = 1e6
"""N m; the torque limit is applied here"""


def create(settings, arrays):
    """See `bridges.remote.worker`."""
    return Backend(settings, arrays)


class Backend:
    """One simulation with one actor an environment."""

    def __init__(self, settings: dict[str, Any], arrays: dict[str, np.ndarray]):
        self._cfg, self._shared = settings, arrays
        self._num_envs = int(settings["num_envs"])
        self._gpu = settings["device"] != "cpu"
        self._device = int(settings["device"].partition(":")[2] or 0) if self._gpu else -1
        self._xp = np  # type: Any
        if self._gpu:
            from isaacgym import gymtorch  # type: ignore  # builds an extension when it is first imported

            self._gymtorch, self._xp = gymtorch, _torch()
        self._gym = gymapi.acquire_gym()
        self._sim = self._create_sim()
        self._add_ground()
        self._asset = self._load_asset()
        self._create_actors()
        self._prepared = False
        self._alive = []  # type: list[Any]  # what the simulator may still read
        self._scales = {name: np.ones((self._num_envs, len(self._joints)), np.float32) for name in GAINS}
        self._limit = self._tensor(np.asarray(settings["torque_limit"], np.float32))
        self._damping = self._tensor(np.asarray(settings["joint_damping"], np.float32))
        self._at = self._tensor(np.array(self._joint_at))
        self._set_gains({}, np.zeros(0, int))

    def describe(self) -> dict[str, Any]:
        """What the host checks."""
        return {"joints": self._joints, "bodies": self._bodies, "gpu": self._gpu}

    def randomize(self, flags: int, message: Any) -> dict[str, Any] | None:
        """Parameters of the environments in `mask`; relative to the nominal ones, NaN means nominal.

        On the GPU pipeline IsaacGym takes masses, centres of mass, friction and armatures only before
        `prepare_sim`: then nothing is changed but the gains, and the answer is ``{"refused": [names]}``.
        """
        given = {name: self._shared["params/" + name] for i, name in enumerate(FIELDS) if flags >> i & 1}
        ids = np.flatnonzero(self._shared["mask"])
        self._set_gains({name: given[name] for name in GAINS if name in given}, ids)
        rest = [name for name in given if name not in GAINS]
        if rest and self._gpu and self._prepared:
            return {"refused": rest}
        for i in ids:
            self._set_properties(int(i), {name: given[name][i] for name in rest})
        if "com_offset" in rest and self._prepared:
            self._root_com = self._tensor(self._root_coms())
        return None

    def step(self, flags: int, message: Any) -> None:
        """Write the rows that are new, take `decimation` physics steps, and put the state into shared memory."""
        gym, sim, shared = self._gym, self._sim, self._shared
        if not self._prepared:
            self._prepare()
        self._alive = []
        if flags & WRITE:
            self._write(np.flatnonzero(shared["write_root"]), np.flatnonzero(shared["write_dof"]))
        target = self._tensor(shared["targets"])
        offset = self._tensor(shared["torque_offset"]) if flags & OFFSET else None
        limit = self._limit
        for k in range(self._cfg["decimation"]):
            pos, vel = self._dof[:, self._at, 0], self._dof[:, self._at, 1]
            torque = self._kp * (target - pos) - self._kd * vel
            if offset is not None:
                torque = torque + offset[:, k]
            torque = self._xp.minimum(self._xp.maximum(torque, -limit), limit) - self._damping * vel
            torque[torque != torque] = 0.0  # of an environment that has diverged
            self._force[:, self._at] = torque
            gym.set_dof_actuation_force_tensor(sim, self._force_descriptor)
            gym.simulate(sim)
            if not self._gpu:
                gym.fetch_results(sim, True)
            gym.refresh_dof_state_tensor(sim)
        gym.refresh_actor_root_state_tensor(sim)
        gym.refresh_net_contact_force_tensor(sim)
        self._read()

    def body_positions(self, flags: int, message: Any) -> dict[str, Any]:
        """Where the simulator has the bodies after a step, for comparison with the host's kinematics."""
        self._gym.refresh_rigid_body_state_tensor(self._sim)
        places = self._host(self._links[:, :, :3])
        return {"places": np.ascontiguousarray(places[:, self._simulated_at]), "bodies": self._simulated}

    def close(self) -> None:
        """Release the simulation."""
        self._gym.destroy_sim(self._sim)

    # Building

    def _create_sim(self) -> Any:
        cfg, params = self._cfg, gymapi.SimParams()
        params.dt, params.substeps = cfg["dt"], 1
        params.up_axis, params.gravity = gymapi.UP_AXIS_Z, gymapi.Vec3(0.0, 0.0, -9.81)
        params.num_client_threads = 0
        params.use_gpu_pipeline = params.physx.use_gpu = self._gpu
        for name, value in cfg["physx"].items():
            setattr(params.physx, name, value)
        params.physx.contact_collection = gymapi.CC_LAST_SUBSTEP  # without it there are no contact forces
        sim = self._gym.create_sim(max(self._device, 0), -1, gymapi.SIM_PHYSX, params)
        if sim is None:
            raise RuntimeError(f"IsaacGym could not create a simulation on {cfg['device']}")
        return sim

    def _add_ground(self) -> None:
        vertices = self._cfg.get("ground_vertices")
        if vertices is None:
            plane = gymapi.PlaneParams()
            plane.normal = gymapi.Vec3(0.0, 0.0, 1.0)
            plane.static_friction = plane.dynamic_friction = GROUND_FRICTION
            self._gym.add_ground(self._sim, plane)
            return
        triangles, mesh = self._cfg["ground_triangles"], gymapi.TriangleMeshParams()
        mesh.nb_vertices, mesh.nb_triangles = len(vertices), len(triangles)
        mesh.static_friction = mesh.dynamic_friction = GROUND_FRICTION
        self._gym.add_triangle_mesh(self._sim, vertices.ravel(), triangles.ravel(), mesh)

    def _load_asset(self) -> Any:
        options = gymapi.AssetOptions()
        options.default_dof_drive_mode = int(gymapi.DOF_MODE_EFFORT)
        options.collapse_fixed_joints = False
        options.replace_cylinder_with_capsule = True  # PhysX has no cylinders
        options.flip_visual_attachments = False
        options.fix_base_link = options.disable_gravity = False
        options.linear_damping = options.angular_damping = 0.0  # the latter is 0.5 otherwise
        options.max_linear_velocity = options.max_angular_velocity = 1000.0
        options.armature = 0.0  # per joint, below
        asset = self._gym.load_asset(self._sim, self._cfg["asset_folder"], self._cfg["asset_file"], options)
        self._joints = list(self._gym.get_asset_dof_names(asset))
        self._bodies = list(self._gym.get_asset_rigid_body_names(asset))
        wanted = self._cfg["joint_names"]
        if sorted(self._joints) != sorted(wanted):
            raise ValueError(f"IsaacGym imported joints {self._joints}, wanted {wanted}")
        self._joint_at = [self._joints.index(name) for name in wanted]
        names = self._cfg["body_names"]
        self._simulated = [i for i, name in enumerate(names) if name in self._bodies]
        self._simulated_at = [self._bodies.index(names[i]) for i in self._simulated]
        self._root_at = self._bodies.index(self._cfg["root_body"])
        return asset

    def _create_actors(self) -> None:
        """An actor in each environment; environments have no size, so that positions are those of the world."""
        gym, cfg, zero = self._gym, self._cfg, gymapi.Vec3(0.0, 0.0, 0.0)
        pose = gymapi.Transform()
        x, y, z = cfg["init_pos"]
        pose.p = gymapi.Vec3(x, y, z)
        mask = 0 if cfg["self_collisions"] else 1  # shapes that share a bit do not collide
        per_row = int(np.sqrt(self._num_envs))
        self._envs, self._handles, indices = [], [], []
        for i in range(self._num_envs):
            env = gym.create_env(self._sim, zero, zero, per_row)
            handle = gym.create_actor(env, self._asset, pose, "robot", i, mask, 0)
            self._envs.append(env)
            self._handles.append(handle)
            indices.append(gym.get_actor_index(env, handle, gymapi.DOMAIN_SIM))
        self._actor_index = np.array(indices, np.int32)
        env, handle = self._envs[0], self._handles[0]
        self._nominal_bodies = gym.get_actor_rigid_body_properties(env, handle)
        self._nominal_com = np.array([[b.com.x, b.com.y, b.com.z] for b in self._nominal_bodies], np.float32)
        self._nominal_mass = [body.mass for body in self._nominal_bodies]
        self._nominal_inertia = [_matrix(body.inertia) for body in self._nominal_bodies]
        self._shape_owner = {}  # type: dict[int, str]
        for body, shapes in zip(self._bodies, gym.get_asset_rigid_body_shape_indices(self._asset)):
            for k in range(shapes.start, shapes.start + shapes.count):
                self._shape_owner[k] = body
        for i in range(self._num_envs):
            self._set_properties(i, {"friction": np.nan, "armature_ratio": np.ones(len(self._joints))})

    def _set_properties(self, i: int, given: dict[str, Any]) -> None:
        """Parameters of environment `i`, [B], [B, 3], [] or [J]."""
        gym, cfg, env, handle = self._gym, self._cfg, self._envs[i], self._handles[i]
        if "mass_ratio" in given or "com_offset" in given:
            bodies = gym.get_actor_rigid_body_properties(env, handle)
            for ours, at in zip(self._simulated, self._simulated_at):
                if "mass_ratio" in given:
                    ratio = _or(given["mass_ratio"][ours], 1.0)
                    bodies[at].mass = self._nominal_mass[at] * ratio
                    bodies[at].inertia = _mat33(self._nominal_inertia[at] * ratio)
                if "com_offset" in given:
                    com = self._nominal_com[at] + np.nan_to_num(given["com_offset"][ours])
                    bodies[at].com = gymapi.Vec3(float(com[0]), float(com[1]), float(com[2]))
            gym.set_actor_rigid_body_properties(
                env, handle, bodies, False
            )  # False: the inertia stays as given
        if "friction" in given:
            shapes = gym.get_actor_rigid_shape_properties(env, handle)
            for k, shape in enumerate(shapes):
                owner = self._shape_owner.get(k, "")
                friction = _or(given["friction"], cfg["body_friction"].get(owner, 1.0))
                shape.friction = 2.0 * friction - GROUND_FRICTION
                shape.restitution = 0.0
            gym.set_actor_rigid_shape_properties(env, handle, shapes)
        if "armature_ratio" in given:
            joints = gym.get_actor_dof_properties(env, handle)
            joints["driveMode"].fill(int(gymapi.DOF_MODE_EFFORT))
            for field in ("stiffness", "damping"):
                joints[field].fill(0.0)
            joints["effort"].fill(ENOUGH_EFFORT)
            joints["velocity"][self._joint_at] = cfg["velocity_limit"]
            joints["friction"][self._joint_at] = cfg["joint_friction"]
            ratio = np.where(np.isnan(given["armature_ratio"]), 1.0, given["armature_ratio"])
            joints["armature"][self._joint_at] = np.asarray(cfg["armature"]) * ratio
            gym.set_actor_dof_properties(env, handle, joints)

    # Running

    def _prepare(self) -> None:
        """The barrier: buffers are allocated, and on the GPU pipeline properties are fixed from here on."""
        gym, sim, e = self._gym, self._sim, self._num_envs
        gym.prepare_sim(sim)
        for name in ("actor_root_state", "dof_state", "rigid_body_state", "net_contact_force"):
            getattr(gym, f"refresh_{name}_tensor")(sim)  # without it the roots may be NaN
        root, dof, links, contact = (
            self._wrap(getattr(gym, f"acquire_{name}_tensor")(sim))
            for name in ("actor_root_state", "dof_state", "rigid_body_state", "net_contact_force")
        )
        joints, bodies = len(self._joints), len(self._bodies)
        self._roots = root  # [actors, 13]
        self._dof_rows = dof  # [actors * joints, 2]
        self._dof = dof.reshape(e, joints, 2)
        self._links = links.reshape(e, bodies, 13)
        self._contact = contact.reshape(e, bodies, 3)
        self._force = self._tensor(np.zeros((e, joints), np.float32))
        self._force_descriptor = self._unwrap(self._force.reshape(-1))
        self._roots_descriptor, self._dof_descriptor = self._unwrap(self._roots), self._unwrap(self._dof_rows)
        self._root_com = self._tensor(self._root_coms())
        self._prepared = True

    def _write(self, roots: np.ndarray, dofs: np.ndarray) -> None:
        """The shared state of these environments into the simulator: one indexed call for each tensor."""
        gym, sim, shared = self._gym, self._sim, self._shared
        if len(roots):
            rows = self._tensor(shared["state/root"][roots])
            written = self._xp.zeros_like(rows)
            written[:, :3], written[:, 3:6], written[:, 6] = rows[:, :3], rows[:, 4:7], rows[:, 3]
            arm = _rotate(self._xp, rows[:, 3:7], self._root_com[roots])
            written[:, 7:10] = rows[:, 7:10] + _cross(self._xp, rows[:, 10:13], arm)
            written[:, 10:13] = rows[:, 10:13]
            self._roots[self._actor_index[roots].astype(np.int64)] = written
            index = self._indices(roots)
            gym.set_actor_root_state_tensor_indexed(sim, self._roots_descriptor, index, len(roots))
        if len(dofs):
            for column, name in enumerate(("state/joint_pos", "state/joint_vel")):
                rows = self._xp.zeros_like(self._dof[dofs, :, column])
                rows[:, self._at] = self._tensor(shared[name][dofs])
                self._dof[dofs, :, column] = rows
            index = self._indices(dofs)
            gym.set_dof_state_tensor_indexed(sim, self._dof_descriptor, index, len(dofs))

    def _read(self) -> None:
        """The simulator's state into shared memory."""
        shared = self._shared
        rows = self._roots[self._actor_index.astype(np.int64)]
        quat = self._xp.stack([rows[:, 6], rows[:, 3], rows[:, 4], rows[:, 5]], 1)
        arm = _rotate(self._xp, quat, self._root_com)
        lin = rows[:, 7:10] - _cross(self._xp, rows[:, 10:13], arm)
        root = shared["state/root"]
        root[:, :3], root[:, 3:7] = self._host(rows[:, :3]), self._host(quat)
        root[:, 7:10], root[:, 10:] = self._host(lin), self._host(rows[:, 10:13])
        shared["state/joint_pos"][...] = self._host(self._dof[:, self._at, 0])
        shared["state/joint_vel"][...] = self._host(self._dof[:, self._at, 1])
        shared["state/contact_force"][:, self._simulated] = self._host(self._contact[:, self._simulated_at])

    def _set_gains(self, given: dict[str, np.ndarray], ids: np.ndarray) -> None:
        """Scales [E, J] of the gains in the environments `ids`; NaN means 1."""
        for name, rows in given.items():
            self._scales[name][ids] = np.where(np.isnan(rows[ids]), 1.0, rows[ids])
        self._kp = self._tensor(np.asarray(self._cfg["kp"], np.float32) * self._scales["kp_scale"])
        self._kd = self._tensor(np.asarray(self._cfg["kd"], np.float32) * self._scales["kd_scale"])

    def _root_coms(self) -> np.ndarray:
        """[E, 3] m, centre of mass of the root link in its own axes; it may have been randomised."""
        gym, rows = self._gym, []
        for env, handle in zip(self._envs, self._handles):
            com = gym.get_actor_rigid_body_properties(env, handle)[self._root_at].com
            rows.append((com.x, com.y, com.z))
        return np.array(rows, np.float32)

    # Tensors

    def _tensor(self, array: np.ndarray) -> Any:
        """A copy of `array` where the simulator's tensors are."""
        if not self._gpu:
            return np.array(array)
        return self._xp.from_numpy(np.array(array)).to(f"cuda:{self._device}")

    def _host(self, tensor: Any) -> np.ndarray:
        return tensor.cpu().numpy() if self._gpu else tensor

    def _wrap(self, descriptor: Any) -> Any:
        """The simulator's buffer as an array, not a copy."""
        if self._gpu:
            return self._gymtorch.wrap_tensor(descriptor)
        shape = tuple(descriptor.shape)
        count = int(np.prod(shape))
        buffer = (ctypes.c_float * count).from_address(descriptor.data_address)
        return np.ctypeslib.as_array(buffer).reshape(shape)

    def _unwrap(self, array: Any) -> Any:
        """A descriptor of `array`, which must stay alive."""
        if self._gpu:
            return self._gymtorch.unwrap_tensor(array)
        descriptor = gymapi.Tensor()
        descriptor.data_address, descriptor.shape = array.ctypes.data, array.shape
        descriptor.dtype = gymapi.DTYPE_FLOAT32 if array.dtype == np.float32 else gymapi.DTYPE_UINT32
        descriptor.device, descriptor.own_data = -1, False
        return descriptor

    def _indices(self, envs: np.ndarray) -> Any:
        """Descriptor of the actors of `envs`, int32; kept until the next step, as the simulator reads it later."""
        index = self._tensor(self._actor_index[envs])
        self._alive.append(index)
        return self._unwrap(index)


def _torch() -> Any:
    import torch

    return torch


def _or(value: Any, nominal: float) -> float:
    return float(nominal) if np.isnan(value) else float(value)


def _cross(xp: Any, a: Any, b: Any) -> Any:
    """Cross product of rows of three."""
    parts = [a[:, i] * b[:, j] - a[:, j] * b[:, i] for i, j in ((1, 2), (2, 0), (0, 1))]
    return xp.stack(parts, 1)


def _rotate(xp: Any, quat: Any, vector: Any) -> Any:
    """Rows of `vector` turned by unit quaternions w x y z."""
    axis = quat[:, 1:]
    twice = 2.0 * _cross(xp, axis, vector)
    return vector + quat[:, :1] * twice + _cross(xp, axis, twice)


def _matrix(m: Any) -> np.ndarray:
    return np.array([[row.x, row.y, row.z] for row in (m.x, m.y, m.z)])


def _mat33(values: np.ndarray) -> Any:
    matrix = gymapi.Mat33()
    matrix.x, matrix.y, matrix.z = (gymapi.Vec3(*map(float, row)) for row in values)
    return matrix
