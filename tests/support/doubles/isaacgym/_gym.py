"""`Gym`: the calls, the order they must come in, and what they refuse."""

import copy
import ctypes
import os

import mujoco
import numpy as np

from isaacgym import _model

_DOF_FIELDS = (
    "hasLimits",
    "lower",
    "upper",
    "driveMode",
    "velocity",
    "effort",
    "stiffness",
    "damping",
    "friction",
    "armature",
)
_DOF_TYPE = np.dtype(
    [
        (name, np.bool_ if name == "hasLimits" else np.int32 if name == "driveMode" else np.float32)
        for name in _DOF_FIELDS
    ]
)
"""Names from public code that uses them [holosoma]; order and offsets are not known, so use names only."""
_TENSORS = ("actor_root_state", "dof_state", "rigid_body_state", "net_contact_force")

mujoco.set_mju_user_warning(lambda text: None)  # else a log file in the working folder


class Misuse(RuntimeError):
    """What the real one would let pass, with wrong numbers or a crash later."""


class Sim:
    """One simulation."""

    def __init__(self, params):
        self.params, self.mesh, self.ground_friction = copy.deepcopy(params), None, None
        gravity = params.gravity
        self.gravity = (gravity.x, gravity.y, gravity.z)
        self.envs, self.prepared, self.tensors, self.pending = [], False, {}, {}
        self.refreshed, self.fetched, self.time = set(), True, 0.0
        self.gpu = params.use_gpu_pipeline
        self.device = 0 if self.gpu else -1


class Env:
    """One environment with one actor."""

    def __init__(self, sim):
        self.sim, self.asset, self.index = sim, None, len(sim.envs)


class Gym:
    """Methods and their parameters as in [stubs]."""

    pipeline_device = -1
    """of the newest simulation; for the double's gymtorch"""

    def create_sim(self, compute_device=0, graphics_device=0, type=0, params=None):
        from isaacgym import gymapi

        if params.use_gpu_pipeline and not params.physx.use_gpu:  # [docs]
            raise Misuse("use_gpu_pipeline needs physx.use_gpu")
        if params.up_axis != gymapi.UP_AXIS_Z or type != gymapi.SIM_PHYSX:
            raise Misuse("only PhysX with z up is imitated")
        if os.environ.get("ISAACGYM_DOUBLE_NO_SIM"):
            return None  # what a failure looks like [holosoma]
        self.pipeline_device = 0 if params.use_gpu_pipeline else -1
        return Sim(params)

    def destroy_sim(self, arg0):
        arg0.envs = []

    def add_ground(self, sim, params):
        normal = params.normal
        if (normal.x, normal.y, normal.z) != (0.0, 0.0, 1.0):
            raise Misuse("the plane must be horizontal")
        sim.ground_friction = params.static_friction

    def add_triangle_mesh(self, arg0, arg1, arg2, arg3):
        if arg1.dtype != np.float32 or arg2.dtype != np.uint32 or arg1.ndim != 1 or arg2.ndim != 1:
            raise Misuse("flat float32 vertices and uint32 triangles are wanted")  # [stubs]
        if (arg1.size, arg2.size) != (3 * arg3.nb_vertices, 3 * arg3.nb_triangles):
            raise Misuse("nb_vertices or nb_triangles is wrong")
        arg0.mesh, arg0.ground_friction = _model.grid(arg1, arg2), arg3.static_friction

    def load_asset(self, sim, rootpath, filename, options=None):
        if not filename.endswith(".urdf"):
            raise Misuse("only URDF: Preview 4's MJCF importer may hang on actuators")
        return _model.Asset(os.path.join(rootpath, filename), options)

    def get_asset_dof_names(self, arg0):
        return list(arg0.dofs)

    def get_asset_rigid_body_names(self, arg0):
        return list(arg0.bodies)

    def get_asset_rigid_body_shape_indices(self, arg0):
        from isaacgym import gymapi

        return [gymapi.IndexRange(start, count) for start, count in arg0.shapes]

    def create_env(self, arg0, arg1, arg2, arg3):
        if arg0.prepared:
            raise Misuse("create_env after prepare_sim")
        if any(getattr(v, k) != 0.0 for v in (arg1, arg2) for k in "xyz"):
            raise Misuse(
                "environments with a size have origins of their own"
            )  # [holosoma] gives them none, too
        env = Env(arg0)
        arg0.envs.append(env)
        return env

    def create_actor(self, env, asset, pose, name=None, group=-1, filter=-1, segmentationId=0):
        """`filter`: shapes that share a bit do not collide [stubs], so 0 lets a robot's links collide."""
        if env.asset is not None:
            raise Misuse("one actor an environment")
        env.asset, options = asset, asset.options
        env.model = asset.build(env.sim)
        for name in ("body_sameframe", "geom_sameframe", "body_simple", "dof_simplenum"):
            getattr(env.model, name)[:] = 0  # MuJoCo's shortcuts for inertias that are not going to change
        if filter == 0:
            robot = env.model.geom_bodyid > 0
            env.model.geom_conaffinity[robot] = 3
        env.data, env.scratch = mujoco.MjData(env.model), mujoco.MjData(env.model)
        env.data.qpos[:3] = pose.p.x, pose.p.y, pose.p.z
        env.body_at = [env.model.body(body).id for body in asset.bodies]
        joints = [env.model.joint(dof) for dof in asset.dofs]
        env.qpos_at = np.array([joint.qposadr[0] for joint in joints], int)
        env.qvel_at = np.array([joint.dofadr[0] for joint in joints], int)
        env.base = env.model.body(asset.base).id
        env.damping = options.angular_damping
        env.dof_properties = np.zeros(len(asset.dofs), _DOF_TYPE)
        env.dof_properties["driveMode"] = options.default_dof_drive_mode
        env.dof_properties["effort"] = 1e9
        env.dof_properties["velocity"] = 1e9
        env.shape_properties = []
        mujoco.mj_forward(env.model, env.data)
        return 0

    def get_actor_index(self, arg0, arg1, arg2):
        from isaacgym import gymapi

        return arg0.index if arg2 == gymapi.DOMAIN_SIM else 0

    def get_actor_rigid_body_properties(self, arg0, arg1):
        from isaacgym import gymapi

        result = []
        for body in arg0.body_at:
            found = gymapi.RigidBodyProperties()
            found.mass, found.com = (
                float(arg0.model.body_mass[body]),
                gymapi.Vec3(*arg0.model.body_ipos[body]),
            )
            turn = np.zeros(9)
            mujoco.mju_quat2Mat(turn, arg0.model.body_iquat[body])
            turn = turn.reshape(3, 3)
            tensor = (
                turn @ np.diag(arg0.model.body_inertia[body]) @ turn.T
            )  # about the centre of mass, link axes
            for name, row in zip("xyz", tensor):
                setattr(found.inertia, name, gymapi.Vec3(*row))
            result.append(found)
        return result

    def set_actor_rigid_body_properties(self, env, actorHandle, props, recomputeInertia=False):
        """A centre of mass cannot be changed on the GPU pipeline [stubs]; after prepare_sim nothing can [assumed]."""
        self._may_change(env)
        for body, given in zip(env.body_at, props):
            env.model.body_mass[body] = given.mass
            env.model.body_ipos[body] = given.com.x, given.com.y, given.com.z
            tensor = np.array(
                [[row.x, row.y, row.z] for row in (given.inertia.x, given.inertia.y, given.inertia.z)]
            )
            if recomputeInertia:
                raise Misuse("recomputeInertia would undo the inertia that was given")
            moments, axes = np.linalg.eigh(tensor)
            axes[:, 2] *= np.sign(np.linalg.det(axes))
            mujoco.mju_mat2Quat(env.model.body_iquat[body], axes.ravel())
            env.model.body_inertia[body] = moments
        self._derive(env)
        return True

    def get_actor_rigid_shape_properties(self, arg0, arg1):
        from isaacgym import gymapi

        if not arg0.shape_properties:
            count = sum(count for _, count in arg0.asset.shapes)
            arg0.shape_properties = [gymapi.RigidShapeProperties() for _ in range(count)]
        return [copy.copy(shape) for shape in arg0.shape_properties]

    def set_actor_rigid_shape_properties(self, arg0, arg1, arg2):
        """Friction of a contact is the mean of the two materials': PhysX's default, which nobody changes [holosoma]."""
        self._may_change(arg0)
        arg0.shape_properties = [copy.copy(shape) for shape in arg2]
        for body, (start, count) in zip(arg0.body_at, arg0.asset.shapes):
            first = int(arg0.model.body_geomadr[body])
            for k in range(count):
                mean = 0.5 * (arg2[start + k].friction + arg0.sim.ground_friction)
                arg0.model.geom_friction[first + k, 0] = mean
        return True

    def get_actor_dof_properties(self, *args, **kwargs):
        return args[0].dof_properties.copy()

    def set_actor_dof_properties(self, arg0, arg1, arg2):
        self._may_change(arg0)
        if arg2.dtype != _DOF_TYPE or arg2.shape != arg0.dof_properties.shape:
            raise Misuse("the structured array of get_actor_dof_properties is wanted")
        if (arg2["stiffness"] != 0).any() or (arg2["damping"] != 0).any():
            raise Misuse("drives of the importer would act beside the torques")
        arg0.dof_properties = arg2.copy()
        arg0.model.dof_armature[arg0.qvel_at] = arg2["armature"]
        arg0.model.dof_frictionloss[arg0.qvel_at] = arg2["friction"]
        self._derive(arg0)
        return True

    def prepare_sim(self, arg0):
        if arg0.prepared:
            raise Misuse("prepare_sim twice")
        arg0.prepared, e = True, len(arg0.envs)
        asset = arg0.envs[0].asset
        shapes = ((e, 13), (e * len(asset.dofs), 2), (e * len(asset.bodies), 13), (e * len(asset.bodies), 3))
        for name, shape in zip(_TENSORS, shapes):  # NaN until the first refresh: seen with roots of Preview 4
            arg0.tensors[name] = np.full(shape, np.nan, np.float32)
        self._snapshot(arg0)
        return True

    def simulate(self, arg0):
        if not arg0.prepared:
            raise Misuse("simulate before prepare_sim")
        self._apply(arg0)
        for env in arg0.envs:
            model, data = env.model, env.data
            data.qvel[3:6] *= max(0.0, 1.0 - env.damping * arg0.params.dt)
            mujoco.mj_step(model, data)
        self._snapshot(arg0)
        arg0.pending, arg0.fetched = {}, arg0.gpu
        arg0.time += arg0.params.dt

    def fetch_results(self, arg0, arg1):
        if arg0.gpu:
            raise Misuse(
                "fetch_results in the loop of the GPU pipeline costs what the pipeline saves"
            )  # [docs]
        arg0.fetched = True

    def acquire_actor_root_state_tensor(self, arg0):
        return self._acquire(arg0, "actor_root_state")

    def acquire_dof_state_tensor(self, arg0):
        return self._acquire(arg0, "dof_state")

    def acquire_rigid_body_state_tensor(self, arg0):
        return self._acquire(arg0, "rigid_body_state")

    def acquire_net_contact_force_tensor(self, arg0):
        return self._acquire(arg0, "net_contact_force")

    def refresh_actor_root_state_tensor(self, arg0):
        """Position, quaternion x y z w, velocity of the centre of mass, angular velocity, all in the world."""
        out = self._refresh(arg0, "actor_root_state")
        for i, env in enumerate(arg0.envs):
            data = env.data
            turn = np.zeros(9)
            mujoco.mju_quat2Mat(turn, data.qpos[3:7])
            turn = turn.reshape(3, 3)
            spin, arm = turn @ data.qvel[3:6], turn @ env.model.body_ipos[env.base]
            quat = data.qpos[[4, 5, 6, 3]]
            out[i] = np.concatenate([data.qpos[:3], quat, data.qvel[:3] + np.cross(spin, arm), spin])
        return True

    def refresh_dof_state_tensor(self, arg0):
        out = self._refresh(arg0, "dof_state").reshape(len(arg0.envs), -1, 2)
        for i, env in enumerate(arg0.envs):
            out[i, :, 0], out[i, :, 1] = env.data.qpos[env.qpos_at], env.data.qvel[env.qvel_at]
        return True

    def refresh_rigid_body_state_tensor(self, arg0):
        """Of the last simulate: setting a state moves no links until the next one [holosoma]."""
        self._refresh(arg0, "rigid_body_state")[:] = self._body_states(arg0)
        return True

    def refresh_net_contact_force_tensor(self, arg0):
        """Net force on each body in the last substep, world axes."""
        from isaacgym import gymapi

        out = self._refresh(arg0, "net_contact_force").reshape(len(arg0.envs), -1, 3)
        out[:] = 0.0
        if arg0.params.physx.contact_collection == gymapi.CC_NEVER:
            return True
        found = np.zeros(6)
        for i, env in enumerate(arg0.envs):
            row = {body: k for k, body in enumerate(env.body_at)}
            for k in range(env.data.ncon):
                contact = env.data.contact[k]
                mujoco.mj_contactForce(env.model, env.data, k, found)
                force = contact.frame.reshape(3, 3).T @ found[:3]  # of the first geom on the second
                for geom, sign in ((contact.geom1, -1.0), (contact.geom2, 1.0)):
                    body = env.model.geom_bodyid[geom]
                    if body in row:
                        out[i, row[body]] += sign * force
        return True

    def set_dof_actuation_force_tensor(self, arg0, arg1):
        shape = (arg0.tensors["dof_state"].shape[0],)
        self._note(arg0, "force", self._checked(arg0, arg1, np.float32, shape))
        return True

    def set_actor_root_state_tensor_indexed(self, arg0, arg1, arg2, arg3):
        return self._indexed(arg0, "actor_root_state", arg1, arg2, arg3)

    def set_dof_state_tensor_indexed(self, arg0, arg1, arg2, arg3):
        return self._indexed(arg0, "dof_state", arg1, arg2, arg3)

    def _acquire(self, sim, name):
        from isaacgym import gymapi

        if not sim.prepared:
            raise Misuse(f"acquire_{name}_tensor before prepare_sim")  # [docs]
        if name not in sim.refreshed:
            raise Misuse(f"acquire_{name}_tensor before the first refresh: Preview 4 was seen to give NaN")
        array, descriptor = sim.tensors[name], gymapi.Tensor()
        descriptor.data_address, descriptor.shape, descriptor.device = (
            array.ctypes.data,
            array.shape,
            sim.device,
        )
        return descriptor

    def _refresh(self, sim, name):
        if not sim.fetched:
            raise Misuse("refresh before fetch_results on the CPU pipeline")  # [docs]
        sim.refreshed.add(name)
        return sim.tensors[name]

    def _indexed(self, sim, name, tensor, indices, count):
        """A later call before the next simulate can undo an earlier one [issue isaac-sim/IsaacGymEnvs 181]."""
        if name in sim.pending:
            raise Misuse(f"set_{name}_tensor_indexed twice before simulate: give all rows at once")
        values = self._checked(sim, tensor, np.float32, sim.tensors[name].shape)
        wanted = self._checked(sim, indices, np.uint32, (count,))
        if len(np.unique(wanted)) != count or (wanted >= len(sim.envs)).any():
            raise Misuse(f"indices: got {wanted}")
        self._note(sim, name, (values, wanted))
        return True

    def _note(self, sim, name, what):
        """Read at the next simulate, so memory that was freed meanwhile shows [assumed]."""
        sim.pending[name] = what

    def _checked(self, sim, tensor, kind, shape):
        """The memory that `tensor` describes, which must be as wanted."""
        from isaacgym import gymapi

        wanted = gymapi.DTYPE_FLOAT32 if kind == np.float32 else gymapi.DTYPE_UINT32
        if tensor.dtype != wanted:  # int64 indices are read as pairs of int32
            raise Misuse(f"tensor of {tensor.dtype!r}, wanted {wanted!r}")
        if tensor.device != sim.device:
            raise Misuse(f"tensor on device {tensor.device}, wanted {sim.device}")
        if tuple(tensor.shape) != tuple(shape):
            raise Misuse(f"tensor of shape {tuple(tensor.shape)}, wanted {tuple(shape)}")
        c_type = ctypes.c_float if kind == np.float32 else ctypes.c_uint32
        memory = (c_type * int(np.prod(shape))).from_address(tensor.data_address)
        return np.ctypeslib.as_array(memory).reshape(shape)

    def _apply(self, sim):
        e = len(sim.envs)
        if "actor_root_state" in sim.pending:
            values, indices = sim.pending["actor_root_state"]
            for i in indices:
                env, row = sim.envs[i], values[i].astype(np.float64)
                env.data.qpos[:3], env.data.qpos[3:7] = row[:3], row[[6, 3, 4, 5]]
                if abs(np.linalg.norm(row[3:7]) - 1.0) > 1e-3:
                    raise Misuse(f"quaternion {row[3:7]} of actor {i}")
                turn = np.zeros(9)
                mujoco.mju_quat2Mat(turn, env.data.qpos[3:7])
                turn = turn.reshape(3, 3)
                arm = turn @ env.model.body_ipos[env.base]
                env.data.qvel[:3] = row[7:10] - np.cross(row[10:13], arm)
                env.data.qvel[3:6] = turn.T @ row[10:13]
        if "dof_state" in sim.pending:
            values, indices = sim.pending["dof_state"]
            rows = values.reshape(e, -1, 2)
            for i in indices:
                env = sim.envs[i]
                env.data.qpos[env.qpos_at], env.data.qvel[env.qvel_at] = rows[i, :, 0], rows[i, :, 1]
                env.data.qacc_warmstart[:] = 0.0
        force = sim.pending.get("force")
        for i, env in enumerate(sim.envs):
            torque = np.zeros(len(env.qvel_at)) if force is None else force.reshape(e, -1)[i]
            effort = env.dof_properties["effort"]
            env.data.qfrc_applied[env.qvel_at] = np.clip(torque, -effort, effort)

    def _may_change(self, env):
        if env.sim.gpu and env.sim.prepared:
            raise Misuse("properties cannot be set on the GPU pipeline after prepare_sim")  # [assumed]

    def _derive(self, env):
        qpos, qvel = env.data.qpos.copy(), env.data.qvel.copy()
        mujoco.mj_setConst(env.model, env.data)
        env.data.qpos[:], env.data.qvel[:] = qpos, qvel

    def _snapshot(self, sim):
        for env in sim.envs:
            env.scratch.qpos[:], env.scratch.qvel[:] = env.data.qpos, env.data.qvel

    def _body_states(self, sim):
        """[bodies, 13] like the roots, at the last snapshot."""
        rows, found = [], np.zeros(6)
        for env in sim.envs:
            model, data = env.model, env.scratch
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_comVel(model, data)
            for body in env.body_at:
                mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, body, found, 0)
                arm = data.xmat[body].reshape(3, 3) @ model.body_ipos[body]
                lin = found[3:] + np.cross(found[:3], arm)
                rows.append(np.concatenate([data.xpos[body], data.xquat[body][[1, 2, 3, 0]], lin, found[:3]]))
        return np.array(rows, np.float32)
