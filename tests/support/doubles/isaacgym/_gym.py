"""`Gym`: building a simulation and stepping it, the order the calls must come in, and what they refuse."""

import copy
import os

import mujoco
import numpy as np

from isaacgym import _model
from isaacgym._tensors import NAMES, Misuse, Tensors, matrix

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
"""Names from public code that uses them [holosoma]; order, offsets and types [assumed]: use names only."""

mujoco.set_mju_user_warning(lambda text: None)  # else a log file in the working folder [test]


class Sim:
    """One simulation."""

    def __init__(self, params):
        self.params, self.mesh, self.ground_friction = copy.deepcopy(params), None, None
        gravity = params.gravity
        self.gravity = (gravity.x, gravity.y, gravity.z)
        self.envs, self.prepared, self.tensors, self.pending = [], False, {}, {}
        self.refreshed, self.fetched = set(), True
        self.gpu = params.use_gpu_pipeline
        self.device = 0 if self.gpu else -1


class Env:
    """One environment with one actor [test]: the bridge needs no more."""

    def __init__(self, sim):
        self.sim, self.asset, self.index = sim, None, len(sim.envs)


class Gym(Tensors):
    """Methods, their parameters and the types of their answers are those of [stubs]."""

    pipeline_device = -1
    """of the newest simulation; for the double's gymtorch [test]"""

    def create_sim(self, compute_device=0, graphics_device=0, type=0, params=None):
        from isaacgym import gymapi

        if params.use_gpu_pipeline and not params.physx.use_gpu:  # [docs]
            raise Misuse("use_gpu_pipeline needs physx.use_gpu")
        if params.up_axis != gymapi.UP_AXIS_Z or type != gymapi.SIM_PHYSX:
            raise Misuse("only PhysX with z up is imitated")  # [test]
        if params.substeps != 1:
            raise Misuse("simulate would take several steps of dt / substeps [stubs]; one is imitated")
        if os.environ.get("ISAACGYM_DOUBLE_NO_SIM"):
            return None  # what a failure looks like [holosoma]
        self.pipeline_device = 0 if params.use_gpu_pipeline else -1
        return Sim(params)

    def destroy_sim(self, arg0):
        arg0.envs = []

    def add_ground(self, sim, params):
        normal = params.normal
        if (normal.x, normal.y, normal.z) != (0.0, 0.0, 1.0):
            raise Misuse("the plane must be horizontal")  # its normal is z [holosoma]
        sim.ground_friction = params.static_friction

    def add_triangle_mesh(self, arg0, arg1, arg2, arg3):
        if arg1.dtype != np.float32 or arg2.dtype != np.uint32 or arg1.ndim != 1 or arg2.ndim != 1:
            raise Misuse(
                "flat float32 vertices and uint32 triangles are wanted"
            )  # types [stubs], flat [holosoma]
        if (arg1.size, arg2.size) != (3 * arg3.nb_vertices, 3 * arg3.nb_triangles):
            raise Misuse("nb_vertices or nb_triangles is wrong")  # [stubs]; what a wrong one does [assumed]
        arg0.mesh, arg0.ground_friction = _model.grid(arg1, arg2), arg3.static_friction

    def load_asset(self, sim, rootpath, filename, options=None):
        if not filename.endswith(".urdf"):
            raise Misuse("only URDF: [holosoma] loads nothing else; what the MJCF importer does [assumed]")
        return _model.Asset(os.path.join(rootpath, filename), options)

    def get_asset_dof_names(self, arg0):
        return list(arg0.dofs)

    def get_asset_rigid_body_names(self, arg0):
        return list(arg0.bodies)

    def get_asset_rigid_body_shape_indices(self, arg0):
        """The range of body i's shapes, in the order of bodies [stubs]."""
        from isaacgym import gymapi

        return [gymapi.IndexRange(start, count) for start, count in arg0.shapes]

    def create_env(self, arg0, arg1, arg2, arg3):
        if arg0.prepared:
            raise Misuse("create_env after prepare_sim")  # which allocates the buffers [stubs]
        if any(getattr(v, k) != 0.0 for v in (arg1, arg2) for k in "xyz"):
            raise Misuse("a size may give environments origins of their own [assumed]; none: [holosoma]")
        env = Env(arg0)
        arg0.envs.append(env)
        return env

    def create_actor(self, env, asset, pose, name=None, group=-1, filter=-1, segmentationId=0):
        """`filter`: shapes that share a bit do not collide [stubs], so 0 lets a robot's links collide [holosoma]."""
        if env.asset is not None:
            raise Misuse("one actor an environment")  # [test]
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
        env.dof_properties["driveMode"] = options.default_dof_drive_mode  # [stubs]
        # [holosoma] finds the URDF's limits here; nothing here relies on that, as the bridge sets its own
        env.dof_properties["effort"] = 1e9
        env.dof_properties["velocity"] = 1e9
        env.shape_properties = []
        mujoco.mj_forward(env.model, env.data)
        return 0

    def get_actor_index(self, arg0, arg1, arg2):
        """In the simulation: that of the tensors' rows [holosoma]."""
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
            turn = matrix(arg0.model.body_iquat[body])
            # about the centre of mass [stubs], in the link's axes [assumed]
            tensor = turn @ np.diag(arg0.model.body_inertia[body]) @ turn.T
            for name, row in zip("xyz", tensor):
                setattr(found.inertia, name, gymapi.Vec3(*row))
            result.append(found)
        return result

    def set_actor_rigid_body_properties(self, env, actorHandle, props, recomputeInertia=False):
        """A centre of mass cannot be changed on the GPU pipeline [stubs].

        That it can before `prepare_sim`, and that after it nothing can: [assumed], as [holosoma] randomises before it.
        """
        self._may_change(env)
        for body, given in zip(env.body_at, props):
            env.model.body_mass[body] = given.mass
            env.model.body_ipos[body] = given.com.x, given.com.y, given.com.z
            tensor = np.array(
                [[row.x, row.y, row.z] for row in (given.inertia.x, given.inertia.y, given.inertia.z)]
            )
            if recomputeInertia:
                raise Misuse("recomputeInertia would undo the inertia that was given")  # [stubs]
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
        """Friction of a contact is the mean of the two materials': PhysX's default, which nothing here can change.

        That IsaacGym leaves it: [assumed]. Shapes are in the order of `get_asset_rigid_body_shape_indices` [stubs].
        """
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
            raise Misuse("the structured array of get_actor_dof_properties is wanted")  # [stubs]
        if (arg2["stiffness"] != 0).any() or (arg2["damping"] != 0).any():
            raise Misuse("drives of the importer would act beside the torques")  # [assumed]
        arg0.dof_properties = arg2.copy()
        arg0.model.dof_armature[arg0.qvel_at] = arg2[
            "armature"
        ]  # about the joint's axis [assumed]; set so [holosoma]
        arg0.model.dof_frictionloss[arg0.qvel_at] = arg2["friction"]  # a torque [assumed]
        self._derive(arg0)
        return True

    def prepare_sim(self, arg0):
        if arg0.prepared:
            raise Misuse("prepare_sim twice")  # [assumed]
        arg0.prepared, e = True, len(arg0.envs)
        asset = arg0.envs[0].asset
        shapes = ((e, 13), (e * len(asset.dofs), 2), (e * len(asset.bodies), 13), (e * len(asset.bodies), 3))
        for name, shape in zip(NAMES, shapes):  # [stubs]; NaN until the first refresh: roots [forum 223738]
            arg0.tensors[name] = np.full(shape, np.nan, np.float32)
        self._snapshot(arg0)
        return True

    def simulate(self, arg0):
        if not arg0.prepared:
            raise Misuse("simulate before prepare_sim")  # [docs]
        self._apply(arg0)
        for env in arg0.envs:
            model, data = env.model, env.data
            # of the root alone, where IsaacGym damps every link: enough to find it left on [test]
            data.qvel[3:6] *= max(0.0, 1.0 - env.damping * arg0.params.dt)
            mujoco.mj_step(model, data)
        self._snapshot(arg0)
        arg0.pending, arg0.fetched = {}, arg0.gpu

    def fetch_results(self, arg0, arg1):
        if arg0.gpu:
            raise Misuse(
                "fetch_results on the GPU pipeline costs what it saves"
            )  # [docs]; not called [holosoma]
        arg0.fetched = True

    def _may_change(self, env):
        if env.sim.gpu and env.sim.prepared:
            raise Misuse("properties cannot be set on the GPU pipeline after prepare_sim")  # [assumed]

    def _derive(self, env):
        qpos, qvel = env.data.qpos.copy(), env.data.qvel.copy()
        mujoco.mj_setConst(env.model, env.data)
        env.data.qpos[:], env.data.qvel[:] = qpos, qvel
