"""Forward kinematics of a robot on the host: poses, velocities and lowest points over all frames of a clip.

MuJoCo computes them, one frame after the other, in float64 (about 4 us a frame for the G1). The
simulators' batched kinematics in JAX is `bridges.kinematics`; tests compare the two.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import holosoma_jax.mujoco_import  # noqa: F401

# isort: split
import mujoco
import numpy as np

from holosoma_jax.motion import rotations
from holosoma_jax.robots import model as robot_model
from holosoma_jax.robots.robot import Robot


class Bodies(NamedTuple):
    """Poses and velocities of body-frame origins, world frame, bodies in the robot's order."""

    pos: np.ndarray
    """[T, B, 3] m"""
    quat: np.ndarray
    """[T, B, 4] w x y z"""
    lin_vel: np.ndarray
    """[T, B, 3] m/s"""
    ang_vel: np.ndarray
    """[T, B, 3] rad/s"""


class Skeleton:
    """A robot's compiled model, and what clips need of it."""

    def __init__(self, robot: Robot):
        """Compile the robot alone: its file may be a URDF, or hold a scene around it."""
        self.robot = robot
        self.model = robot_model.read(robot.mjcf, robot.root_body).spec.compile()
        self._data = mujoco.MjData(self.model)

    def bodies(self, qpos: np.ndarray, qvel: np.ndarray) -> Bodies:
        """Bodies at `qpos` [T, 7 + J] that move with `qvel` [T, 6 + J].

        Unlike MuJoCo's own, qvel[:, 3:6] is the root's angular velocity in the *world* frame.

        Velocities are those of the origins: MuJoCo's spatial velocity `cvel` holds the angular
        velocity w and the velocity of the tree's centre of mass c; v(p) = v(c) + w x (p - c).
        """
        model, data = self.model, self._data
        frames, count = len(qpos), model.nbody - 1
        pos, quat = np.empty((frames, count, 3)), np.empty((frames, count, 4))
        spatial, center = np.empty((frames, count, 6)), np.empty((frames, 1, 3))
        local = np.array(qvel, np.float64)
        local[:, 3:6] = rotations.rotate(rotations.conjugate(qpos[:, 3:7]), local[:, 3:6])
        for t in range(frames):
            data.qpos[:], data.qvel[:] = qpos[t], local[t]
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_comVel(model, data)
            pos[t], quat[t] = data.xpos[1:], data.xquat[1:]
            spatial[t], center[t] = data.cvel[1:], data.subtree_com[1]
        ang_vel = spatial[..., :3].copy()
        return Bodies(pos, quat, spatial[..., 3:] + np.cross(ang_vel, pos - center), ang_vel)

    def poses(self, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions [T, B, 3] and orientations [T, B, 4] at `qpos` [T, 7 + J]."""
        model, data = self.model, self._data
        pos, quat = np.empty((len(qpos), model.nbody - 1, 3)), np.empty((len(qpos), model.nbody - 1, 4))
        for t, row in enumerate(qpos):
            data.qpos[:] = row
            mujoco.mj_kinematics(model, data)
            pos[t], quat[t] = data.xpos[1:], data.xquat[1:]
        return pos, quat

    def carried_by(self, body: str, qpos: np.ndarray) -> np.ndarray:
        """Coordinates [T, 7 + J] of the root, where `qpos` has the pose of `body` in its place."""
        row = self.robot.body_names.index(body)
        at_origin = qpos.copy()
        at_origin[:, :7] = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
        pos, quat = self.poses(at_origin)
        out = qpos.copy()
        out[:, 3:7] = rotations.multiply(qpos[:, 3:7], rotations.conjugate(quat[:, row]))
        out[:, :3] = qpos[:, :3] - rotations.rotate(out[:, 3:7], pos[:, row])
        return out

    def center_of_mass(self, qpos: np.ndarray) -> np.ndarray:
        """The robot's centre of mass [T, 3] at `qpos` [T, 7 + J]."""
        model, data = self.model, self._data
        out = np.empty((len(qpos), 3))
        for t, row in enumerate(qpos):
            data.qpos[:] = row
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            out[t] = data.subtree_com[1]
        return out

    @cached_property
    def links(self) -> tuple[int, ...]:
        """Rows of the bodies that a joint moves, the root first; Isaac Sim merges the others into them."""
        return tuple(b - 1 for b in range(1, self.model.nbody) if self.model.body_jntnum[b])

    @cached_property
    def breadth_first_links(self) -> tuple[int, ...]:
        """`links` in PhysX's order: level by level of the tree."""
        depth = {0: -1}
        for body in range(1, self.model.nbody):
            depth[body] = depth[int(self.model.body_parentid[body])] + 1
        links = sorted((b + 1 for b in self.links), key=lambda b: depth[b])  # stable: siblings keep order
        parent_place: dict[int, int] = {}
        ordered: list[int] = []
        for level in sorted({depth[b] for b in links}):
            row = [b for b in links if depth[b] == level]
            row.sort(key=lambda b: (parent_place.get(int(self.model.body_parentid[b]), 0), b))
            for body in row:
                parent_place[body] = len(ordered)
                ordered.append(body)
        return tuple(b - 1 for b in ordered)

    @cached_property
    def breadth_first_joints(self) -> tuple[str, ...]:
        """Joint names in PhysX's order, which Isaac Sim and Isaac Lab use."""
        by_body = {
            int(self.model.jnt_bodyid[j]) - 1: self.model.joint(j).name for j in range(1, self.model.njnt)
        }
        return tuple(by_body[b] for b in self.breadth_first_links if b in by_body)

    def joints_above(self, body: str) -> tuple[str, ...]:
        """Joints on the way from the root to `body`, the root's free joint not among them."""
        model, found = self.model, []
        at = model.body(body).id
        while at:
            first = int(model.body_jntadr[at])
            found += [j for j in range(first, first + int(model.body_jntnum[at])) if j > 0]
            at = int(model.body_parentid[at])
        return tuple(model.joint(j).name for j in reversed(found))

    def fixed_parent(self, body: str) -> str | None:
        """The body that `body` is fixed to without a joint, or None."""
        at = self.model.body(body).id
        parent = int(self.model.body_parentid[at])
        return None if self.model.body_jntnum[at] or parent == 0 else self.model.body(parent).name

    @cached_property
    def feet(self) -> tuple[tuple[int, ...], ...]:
        """For the left and the right foot: rows of the body and of what is fixed to it."""
        return tuple(self._fixed_to(self.model.body(name).id) for name in self.robot.feet_bodies)

    @cached_property
    def surface(self) -> tuple[tuple[int, np.ndarray, np.ndarray], ...]:
        """(row of the body, points [P, 3] m in its frame, radii [P] m) whose spheres touch the ground first."""
        model, found = self.model, []
        solid = [g for g in range(model.ngeom) if model.geom_contype[g] or model.geom_conaffinity[g]]
        for body in range(1, model.nbody):
            mine = [g for g in solid if model.geom_bodyid[g] == body]
            parts = [_spheres(model, g) for g in mine]
            if parts:
                points, radii = (np.concatenate(x) for x in zip(*parts, strict=True))
                found.append((body - 1, points, radii))
        return tuple(found)

    def heights(self, pos: np.ndarray, quat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lowest point of each body that has collision geoms.

        Args:
          pos: [T, B, 3] m.
          quat: [T, B, 4].

        Returns:
          Its height [T, B] m, infinite for a body without geoms, and the point [T, B, 3] m in the body's frame.
        """
        heights, points = np.full(pos.shape[:2], np.inf), np.zeros(pos.shape)
        up = np.broadcast_to([0.0, 0.0, 1.0], (len(pos), 3))
        for body, centers, radii in self.surface:
            local_up = rotations.rotate(rotations.conjugate(quat[:, body]), up)
            below = local_up @ centers.T - radii
            lowest = below.argmin(1)
            heights[:, body] = pos[:, body, 2] + below.min(1)
            points[:, body] = centers[lowest] - radii[lowest, None] * local_up
        return heights, points

    def clearance(self, pos: np.ndarray, quat: np.ndarray) -> np.ndarray:
        """Height [T, 2] m of the lowest point of the left and the right foot."""
        heights, _ = self.heights(pos, quat)
        return np.stack([heights[:, list(rows)].min(1) for rows in self.feet], 1)

    def _fixed_to(self, body: int) -> tuple[int, ...]:
        rows = [body - 1]
        for other in range(body + 1, self.model.nbody):
            if int(self.model.body_parentid[other]) - 1 in rows and not self.model.body_jntnum[other]:
                rows.append(other - 1)
        return tuple(rows)


def _spheres(model: mujoco.MjModel, geom: int) -> tuple[np.ndarray, np.ndarray]:
    """Spheres in the body's frame whose hull is the geom: points [P, 3] and radii [P]."""
    kind, size = mujoco.mjtGeom(model.geom_type[geom]), model.geom_size[geom]
    signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), -1).reshape(-1, 3)
    radius = 0.0
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        points, radius = np.zeros((1, 3)), size[0]
    elif kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        points, radius = np.array([[0.0, 0.0, -size[1]], [0.0, 0.0, size[1]]]), size[0]
    elif kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        angle = np.arange(16) * np.pi / 8.0
        rim = np.stack([size[0] * np.cos(angle), size[0] * np.sin(angle), np.zeros(16)], 1)
        top = np.array([0.0, 0.0, size[1]])
        points = np.concatenate([rim + top, rim - top])
    elif kind == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = int(model.geom_dataid[geom])
        first = int(model.mesh_vertadr[mesh])
        points = np.asarray(model.mesh_vert[first : first + int(model.mesh_vertnum[mesh])], np.float64)
    else:  # a box, or the box around an ellipsoid
        points = signs * size
    rotation = rotations.rotate(np.broadcast_to(model.geom_quat[geom], (len(points), 4)), points)
    return rotation + model.geom_pos[geom], np.full(len(points), radius)
