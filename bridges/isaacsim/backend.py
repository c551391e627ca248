"""The worker's side: Isaac Lab 3 behind the calls of `bridges.remote.coordinates`.

One file without imports of the project, for Isaac Lab's own Python (3.12). The state in shared memory is in
the project's conventions: quaternions w x y z, velocities at the link's origin, the robot's order of joints
and bodies. Isaac Lab has x y z w, and by `joint_ordering` and `body_ordering` our order already.

Two engines run behind the same calls: Newton (MuJoCo Warp, without Isaac Sim) and PhysX (in Isaac Sim, which
has to be started before anything else of it is imported). Where they differ, `self._newton` decides.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

from typing import Any

import numpy as np
import torch

OFFSET, WRITE = 1, 2
"""Flags of `step`: a torque offset is given; some rows of the state are new to the simulator."""
FIELDS = ("mass_ratio", "com_offset", "friction", "kp_scale", "kd_scale", "armature_ratio")
"""Of the bridges' `PhysicsParams`; bit i of the flags of `randomize` stands for field i."""
GAINS = ("kp_scale", "kd_scale")
GROUND = "/World/ground"
ROBOT = "{ENV_REGEX_NS}/Robot"
HEIGHT_FIELD = "newton:heightfield:resolution"
"""Newton collides a mesh with this attribute as a height field of that cell; any other as its convex hull."""
GROUND_FRICTION = 1e-5
"""The larger of two coefficients acts: the robot's. MuJoCo warns of less."""
ENOUGH_EFFORT = 1e6
"""N m; the torque limit is applied here"""


def create(settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Backend:
    """See `bridges.remote.worker`."""
    if settings["device"] == "auto":
        settings["device"] = "cuda:0" if torch.cuda.is_available() else "cpu"
    return Backend(settings, arrays, None if settings["physics"] == "newton" else _start_isaac_sim(settings))


class Backend:
    """One scene with one robot an environment, all environments at the world's origin."""

    def __init__(self, settings: dict[str, Any], arrays: dict[str, np.ndarray], isaac_sim: Any):
        self._cfg, self._shared, self._isaac_sim = settings, arrays, isaac_sim
        self._newton = settings["physics"] == "newton"
        self._num_envs, self._device = int(settings["num_envs"]), settings["device"]
        self._sim, self._scene = self._build()
        self._robot, self._contact = self._scene["robot"], self._scene["contact"]
        self._check_built()
        up = torch.tensor([0.0, 0.0, float(settings["lift"])], device=self._device)
        self._origins = self._scene.env_origins + up  # the host's (0, 0, 0) in each environment
        self._limit = self._tensor(np.asarray(settings["torque_limit"], np.float32))
        # Newton has it from the USD file, and integrates it implicitly.
        damping = np.zeros_like(settings["joint_damping"]) if self._newton else settings["joint_damping"]
        self._damping = self._tensor(np.asarray(damping, np.float32))
        shape = (self._num_envs, self._robot.num_joints)
        self._scales = {name: np.ones(shape, np.float32) for name in GAINS}
        self._set_gains({}, np.zeros(0, int))
        self._set_joints()
        data = self._robot.data
        self._nominal_mass = data.body_mass.torch.clone()
        self._nominal_inertia = data.body_inertia.torch.clone()
        com = data.body_com_pos_b if self._newton else data.body_com_pose_b
        self._nominal_com = com.torch.clone()
        self._nominal_friction = self._friction().to(self._device, copy=True)
        if self._newton:
            self._watch_buffers()
        self._advance(self._tensor(np.zeros(shape, np.float32)))  # compiles kernels, which can take minutes
        if self._newton:
            self._forget_usage()

    def describe(self) -> dict[str, Any]:
        """What the host may report."""
        return {"device": self._device, "joints": self._robot.joint_names, "bodies": self._robot.body_names}

    def randomize(self, flags: int, message: Any) -> None:
        """Parameters of the environments in `mask`; relative to the nominal ones, NaN means nominal."""
        shared = self._shared
        given = {name: shared["params/" + name] for i, name in enumerate(FIELDS) if flags >> i & 1}
        ids = np.flatnonzero(shared["mask"])
        self._set_gains({name: given[name] for name in GAINS if name in given}, ids)
        if not len(ids):
            return
        robot, where, bodies = self._robot, self._tensor(ids.astype(np.int32)), self._cfg["bodies"]
        rows = {name: self._tensor(given[name][ids]) for name in given}
        if "mass_ratio" in rows:
            ratio = torch.nan_to_num(rows["mass_ratio"][:, bodies], nan=1.0)
            mass, inertia = self._nominal_mass[where.long()], self._nominal_inertia[where.long()]
            robot.set_masses_index(masses=(mass * ratio).contiguous(), env_ids=where)
            robot.set_inertias_index(inertias=(inertia * ratio[..., None]).contiguous(), env_ids=where)
        if "com_offset" in rows:
            com = self._nominal_com[where.long()].clone()
            com[..., :3] += torch.nan_to_num(rows["com_offset"][:, bodies], nan=0.0)
            robot.set_coms_index(coms=com.contiguous(), env_ids=where)
        if "friction" in rows:
            nominal = self._nominal_friction[where.long()]
            wanted = rows["friction"].reshape(-1, *[1] * (nominal.ndim - 1)).expand_as(nominal)
            self._set_friction(torch.where(torch.isnan(wanted), nominal, wanted), where)
        if "armature_ratio" in rows:
            ratio = torch.nan_to_num(rows["armature_ratio"], nan=1.0)
            armature = self._tensor(np.asarray(self._cfg["armature"], np.float32)) * ratio
            robot.write_joint_armature_to_sim_index(armature=armature.contiguous(), env_ids=where)

    def step(self, flags: int, message: Any) -> None:
        """Write the rows that are new, take `decimation` physics steps, and put the state into shared memory."""
        shared, data = self._shared, self._robot.data
        if flags & WRITE:
            self._write(np.flatnonzero(shared["write_root"]), np.flatnonzero(shared["write_dof"]))
        target = self._tensor(shared["targets"])
        offset = self._tensor(shared["torque_offset"]) if flags & OFFSET else None
        for k in range(self._cfg["decimation"]):
            pos, vel = data.joint_pos.torch, data.joint_vel.torch
            torque = self._kp * (target - pos) - self._kd * vel
            if offset is not None:
                torque = torque + offset[:, k]
            torque = torch.minimum(torch.maximum(torque, -self._limit), self._limit) - self._damping * vel
            self._advance(torch.nan_to_num(torque, nan=0.0))  # NaN: an environment has diverged
        self._read()

    def body_positions(self, flags: int, message: Any) -> dict[str, Any]:
        """Where the simulator has the bodies after a step, for comparison with the host's kinematics."""
        places = self._robot.data.body_link_pose_w.torch[..., :3] - self._origins[:, None]
        return {"places": self._host(places), "bodies": list(self._cfg["bodies"])}

    def usage(self, flags: int, message: Any) -> dict[str, Any]:
        """How full Newton's buffers were at most, and how many environments had something left out."""
        from mujoco_warp import OverflowType

        bits = self._host(self._overflow)
        rows = OverflowType.NEFC | OverflowType.NJMAX_NNZ
        contacts = OverflowType.BROADPHASE | OverflowType.NARROWPHASE | OverflowType.CCD
        short = {"rows": rows, "contacts": contacts, "cells": OverflowType.HFIELD}
        return {
            "contacts": float(self._most_contacts) / self._num_envs,
            "rows": int(self._most_rows),
            **{f"short_of_{what}": int((bits & int(kinds) != 0).sum()) for what, kinds in short.items()},
        }

    # Building

    def _build(self) -> tuple[Any, Any]:
        """The simulation and the scene, ready to step."""
        import isaaclab.sim as sim_utils
        from isaaclab.actuators import ImplicitActuatorCfg
        from isaaclab.assets import ArticulationCfg, AssetBaseCfg
        from isaaclab.scene import InteractiveScene, InteractiveSceneCfg
        from isaaclab.sensors import ContactSensorCfg

        cfg, (x, y, z) = self._cfg, self._cfg["init_pos"]
        clock = sim_utils.SimulationCfg(device=self._device, dt=cfg["dt"], physics=self._physics())
        sim = sim_utils.SimulationContext(clock)
        content = InteractiveSceneCfg(num_envs=self._num_envs, env_spacing=0.0)
        # A ground that the scene does not own is ignored without a word, and robots fall for ever; group -1
        # collides with the robots of all environments, which do not collide with each other.
        content.ground = AssetBaseCfg(
            prim_path=GROUND,
            spawn=sim_utils.SpawnerCfg(func=_ground(cfg, self._newton)),
            collision_group=-1,
        )
        content.robot = ArticulationCfg(
            prim_path=ROBOT,
            spawn=sim_utils.UsdFileCfg(
                usd_path=cfg["usd"], activate_contact_sensors=True, **self._articulation()
            ),
            init_state=ArticulationCfg.InitialStateCfg(pos=(x, y, z + cfg["lift"])),
            joint_ordering=list(cfg["joint_names"]),
            body_ordering=list(cfg["body_names"]),
            actuators={
                "all": ImplicitActuatorCfg(
                    joint_names_expr=[".*"], stiffness=0.0, damping=0.0, joint_effort_limit=ENOUGH_EFFORT
                )
            },
        )
        # A history keeps PhysX from reporting the last force after contact is lost.
        content.contact = ContactSensorCfg(prim_path=ROBOT + "/.*", history_length=1)
        built = InteractiveScene(content)
        sim.reset()
        return sim, built

    def _physics(self) -> Any:
        """The engine's settings."""
        if not self._newton:
            from isaaclab_physx.physics import PhysxCfg

            physx = self._cfg["physx"]
            return PhysxCfg(
                solver_type=physx["solver_type"],
                bounce_threshold_velocity=physx["bounce_threshold_velocity"],
                gpu_max_rigid_contact_count=physx["max_gpu_contact_pairs"],
            )
        from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg, NewtonShapeCfg

        return NewtonCfg(
            solver_cfg=MJWarpSolverCfg(cone="pyramidal", integrator="euler", **self._cfg["newton"]),
            default_shape_cfg=NewtonShapeCfg(gap=0.0, margin=0.0),
            use_cuda_graph=self._device != "cpu",
        )

    def _articulation(self) -> dict[str, Any]:
        """What PhysX wants to know of the articulation and Newton does not have."""
        if self._newton:
            return {}
        from isaaclab_physx.sim.schemas import PhysxArticulationCfg

        physx = self._cfg["physx"]
        return {
            "articulation_props": PhysxArticulationCfg(
                solver_position_iteration_count=physx["num_position_iterations"],
                solver_velocity_iteration_count=physx["num_velocity_iterations"],
            )
        }

    def _check_built(self) -> None:
        """Names, and that there is something to stand on.

        Raises:
          RuntimeError: the simulator has other joints, bodies or contact sensors, or no ground.
        """
        cfg, robot = self._cfg, self._robot
        for what, found, wanted in (
            ("joints", robot.joint_names, cfg["joint_names"]),
            ("bodies", robot.body_names, cfg["body_names"]),
        ):
            if list(found) != list(wanted):
                raise RuntimeError(f"Isaac Lab has {what} {list(found)}, wanted {list(wanted)}")
        names = self._contact.sensor_names if self._newton else self._contact.body_names
        sensed = [name.rpartition("/")[2] for name in names]
        if sorted(sensed) != sorted(cfg["body_names"]):
            raise RuntimeError(f"Isaac Lab has contact sensors on {sensed}, wanted {cfg['body_names']}")
        self._sensed = self._tensor(np.array([sensed.index(name) for name in cfg["body_names"]]))
        if self._newton:
            from isaaclab_newton.physics import NewtonManager
            from newton import GeoType

            model = NewtonManager.get_model()
            static = int((model.shape_body.numpy() < 0).sum())
            fields = int((model.shape_type.numpy() == int(GeoType.HFIELD)).sum())
            if static < 1 or (fields < 1 and "ground_vertices" in cfg):
                raise RuntimeError(f"Newton has no ground: {static} static shapes, {fields} height fields")

    def _watch_buffers(self) -> None:
        """Views of how much MuJoCo Warp needs of its buffers; it leaves out what does not fit, and simulates on."""
        import warp
        from isaaclab_newton.physics import NewtonManager

        solver = NewtonManager._solver  # there is no public way to it
        arrays = (solver.mjw_data.nacon, solver.mjw_data.nefc, solver.mjw_data.overflow)
        self._contacts, self._rows, self._overflow = map(warp.to_torch, arrays)
        self._forget_usage()

    def _forget_usage(self) -> None:
        """Nothing has been needed or left out so far; MuJoCo Warp only ever adds to `overflow`."""
        self._overflow.zero_()
        self._most_contacts = torch.zeros_like(self._contacts.max())
        self._most_rows = torch.zeros_like(self._rows.max())

    def _set_joints(self) -> None:
        """Rotor inertia, and what PhysX does not read from the USD file."""
        robot, shape = self._robot, (self._num_envs, self._robot.num_joints)

        def rows(name: str) -> torch.Tensor:
            return self._tensor(np.broadcast_to(np.asarray(self._cfg[name], np.float32), shape))

        robot.write_joint_armature_to_sim_index(armature=rows("armature"))
        if not self._newton:
            friction = rows("joint_friction")
            robot.write_joint_friction_coefficient_to_sim_index(
                joint_friction_coeff=friction, joint_dynamic_friction_coeff=friction
            )
            robot.write_joint_velocity_limit_to_sim_index(limits=rows("velocity_limit"))

    # Running

    def _advance(self, torque: torch.Tensor) -> None:
        """One physics step under `torque` [E, J]."""
        self._robot.actuators.target_command.set_effort_index(value=torque)
        self._scene.write_data_to_sim()
        self._sim.step(render=False)
        self._scene.update(self._cfg["dt"])
        if self._newton:
            self._most_contacts = torch.maximum(self._most_contacts, self._contacts.max())
            self._most_rows = torch.maximum(self._most_rows, self._rows.max())

    def _write(self, roots: np.ndarray, dofs: np.ndarray) -> None:
        """The shared state of these environments into the simulator."""
        robot, shared = self._robot, self._shared
        if len(roots):
            ids = self._tensor(roots.astype(np.int32))
            rows = self._tensor(shared["state/root"][roots])
            pose = torch.cat([rows[:, :3] + self._origins[ids.long()], rows[:, 4:7], rows[:, 3:4]], 1)
            robot.write_root_link_pose_to_sim_index(root_pose=pose, env_ids=ids)
            robot.write_root_link_velocity_to_sim_index(root_velocity=rows[:, 7:].contiguous(), env_ids=ids)
        if len(dofs):
            ids = self._tensor(dofs.astype(np.int32))
            pos, vel = (self._tensor(shared[f"state/joint_{name}"][dofs]) for name in ("pos", "vel"))
            robot.write_joint_position_to_sim_index(position=pos, env_ids=ids)
            robot.write_joint_velocity_to_sim_index(velocity=vel, env_ids=ids)
            self._scene.reset(ids)

    def _read(self) -> None:
        """The simulator's state into shared memory."""
        shared, data, root = self._shared, self._robot.data, self._shared["state/root"]
        pose = self._host(data.root_link_pose_w.torch)
        root[:, :3] = pose[:, :3] - self._host(self._origins)
        root[:, 3], root[:, 4:7] = pose[:, 6], pose[:, 3:6]
        root[:, 7:] = self._host(data.root_link_vel_w.torch)
        shared["state/joint_pos"][...] = self._host(data.joint_pos.torch)
        shared["state/joint_vel"][...] = self._host(data.joint_vel.torch)
        force = self._contact.data.net_forces_w.torch[:, self._sensed]
        shared["state/contact_force"][:, self._cfg["bodies"]] = self._host(force)

    def _set_gains(self, given: dict[str, np.ndarray], ids: np.ndarray) -> None:
        """Scales [E, J] of the gains in the environments `ids`; NaN means 1."""
        for name, rows in given.items():
            self._scales[name][ids] = np.where(np.isnan(rows[ids]), 1.0, rows[ids])
        self._kp = self._tensor(np.asarray(self._cfg["kp"], np.float32) * self._scales["kp_scale"])
        self._kd = self._tensor(np.asarray(self._cfg["kd"], np.float32) * self._scales["kd_scale"])

    def _friction(self) -> torch.Tensor:
        """Coefficients of the robot's shapes: [E, S], on PhysX [E, S, 2], static and dynamic."""
        import warp

        if not self._newton:
            return warp.to_torch(self._robot.root_view.get_material_properties())[..., :2]
        from isaaclab_newton.physics import NewtonManager

        view = self._robot.root_view.get_attribute("shape_material_mu", NewtonManager.get_model())
        return warp.to_torch(view[:, 0])

    def _set_friction(self, values: torch.Tensor, ids: torch.Tensor) -> None:
        """`values` of `_friction` in the environments `ids`."""
        import warp

        if not self._newton:  # PhysX takes materials from host memory only
            view, where = self._robot.root_view, ids.cpu()
            materials = warp.to_torch(view.get_material_properties())
            materials[where.long(), :, :2] = values.to(materials.device)
            view.set_material_properties(warp.from_torch(materials), warp.from_torch(where))
            return
        from isaaclab_newton.physics import NewtonManager
        from newton import ModelFlags

        self._friction()[ids.long()] = values
        NewtonManager.add_model_change(ModelFlags.SHAPE_PROPERTIES)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """A copy of `array` where the simulator's tensors are."""
        return torch.from_numpy(np.array(array)).to(self._device)

    def _host(self, tensor: torch.Tensor) -> np.ndarray:
        return tensor.cpu().numpy()


def _ground(cfg: dict[str, Any], newton: bool) -> Any:
    """A spawner of the ground: a plane, or the triangles in `cfg`; friction is left to the robot."""

    def spawn(prim_path: str, cfg_: Any, translation: Any = None, orientation: Any = None, **_: Any) -> Any:
        from isaaclab.sim.utils.stage import get_current_stage
        from pxr import Sdf, UsdGeom, UsdPhysics, UsdShade, Vt

        stage, path = get_current_stage(), prim_path + "/shape"
        top = UsdGeom.Xform.Define(stage, prim_path).GetPrim()  # only what is below it is imported
        vertices = cfg.get("ground_vertices")
        if vertices is None:
            shape = UsdGeom.Plane.Define(stage, path)  # its axis is z
        else:
            triangles = cfg["ground_triangles"]
            shape = UsdGeom.Mesh.Define(stage, path)
            shape.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(vertices, np.float32)))
            shape.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(triangles), 3, np.int32)))
            indices = np.ascontiguousarray(triangles.reshape(-1), np.int32)
            shape.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(indices))
            UsdPhysics.MeshCollisionAPI.Apply(shape.GetPrim()).CreateApproximationAttr("none")
            if newton:
                field = shape.GetPrim().CreateAttribute(HEIGHT_FIELD, Sdf.ValueTypeNames.Float)
                field.Set(float(cfg["ground_cell"]))
        prim = shape.GetPrim()
        UsdPhysics.CollisionAPI.Apply(prim)
        material = UsdShade.Material.Define(stage, prim_path + "/material")
        physical = UsdPhysics.MaterialAPI.Apply(material.GetPrim())
        physical.CreateStaticFrictionAttr(GROUND_FRICTION)
        physical.CreateDynamicFrictionAttr(GROUND_FRICTION)
        physx = material.GetPrim()
        physx.CreateAttribute("physxMaterial:frictionCombineMode", Sdf.ValueTypeNames.Token).Set("max")
        physx.AddAppliedSchema("PhysxMaterialAPI")
        binding = UsdShade.MaterialBindingAPI.Apply(prim)
        binding.Bind(material, UsdShade.Tokens.weakerThanDescendants, "physics")
        return top

    return spawn


def _start_isaac_sim(settings: dict[str, Any]) -> Any:
    """Start Isaac Sim without a window; it ends with this process."""
    from isaaclab.app import launch_simulation

    running = launch_simulation(None, {"require_kit": True, "headless": True, "device": settings["device"]})
    running.__enter__()
    return running
