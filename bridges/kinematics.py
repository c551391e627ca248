"""Forward kinematics in JAX: where all links are and how they move, from joint coordinates alone.

A simulator in generalised coordinates has `qpos` and `qvel` at hand after a step; its own link poses
are those of the step before, and bringing them up to date costs a pass over its model. Here the pass
is one compiled program over all environments, and only coordinates leave the simulator.

The tree is walked level by level. Components are separate arrays [links, E], environments last, so
that every operation runs over contiguous memory.

Formulas: Featherstone, Rigid Body Dynamics Algorithms (2008), section 4.4, at the links' origins:
w = w_parent + axis * qd and v(p) = v(c) + w x (p - c), with c the joint's anchor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from bridges.protocol import Array

_Components = tuple[Any, ...]
"""a vector (3) or quaternion (4) by component, each [n, E] or, if constant, [n, 1]"""


class Level(NamedTuple):
    """Links of one depth of the tree, each with the joint before it; tuples, so that it hashes."""

    parent: Any
    """[n] index into the level before"""
    pos: Any
    """[n, 3] m, frame before the joint in the parent's frame"""
    quat: Any
    """[n, 4] likewise"""
    axis: Any
    """[n, 3] unit vector in that frame; zero where there is no joint"""
    anchor: Any
    """[n, 3] m, point that a hinge turns about, in that frame"""
    slides: Any
    """[n] bool: the joint moves along its axis instead of turning about it"""
    qpos: Any
    """[n] address of the joint's coordinate"""
    qvel: Any
    """[n] address of its speed"""
    zero: Any
    """[n] coordinate at which the two frames coincide"""


class Tree(NamedTuple):
    """A robot whose root has the free joint of the first seven coordinates; may be a static argument of jit."""

    levels: tuple[Level, ...]
    order: tuple[int, ...]
    """[B] index of each body among the root and all levels' links"""


class Links(NamedTuple):
    """Poses and velocities of the bodies' origins, world frame."""

    pos: Array
    """[E, B, 3] m"""
    quat: Array
    """[E, B, 4] w x y z"""
    lin_vel: Array
    """[E, B, 3] m/s"""
    ang_vel: Array
    """[E, B, 3] rad/s"""


class _Frames(NamedTuple):
    """`Links` by component."""

    pos: _Components
    quat: _Components
    lin: _Components
    ang: _Components


def tree(model: mujoco.MjModel, root: str, bodies: Sequence[str]) -> Tree:
    """The part of `model` that hangs on the body `root` and carries `bodies`.

    A body with several joints becomes a chain of links. Joints that no robot record lists (a passive
    spring, say) are followed like any other.

    Raises:
      ValueError: a body does not hang on `root`, or a ball joint lies in between.
    """
    top = model.body(root).id
    needed: set[int] = set()
    for name in bodies:
        body = model.body(name).id
        while body not in (0, top):
            needed.add(body)
            body = int(model.body_parentid[body])
        if body != top:
            raise ValueError(f"body '{name}' does not hang on '{root}', the robot's root.")
    link_of, levels = {top: (0, 0)}, []  # body -> depth and index in it, the root being depth 0
    for body in sorted(needed):  # a parent's number is below its children's
        depth, index = link_of[int(model.body_parentid[body])]
        for link in _links(model, body):
            if depth == len(levels):
                levels.append([])
            levels[depth].append((index, *link))
            depth, index = depth + 1, len(levels[depth]) - 1
        link_of[body] = depth, index
    first = np.cumsum([0, 1, *map(len, levels)])
    places = (link_of[model.body(name).id] for name in bodies)
    return Tree(
        tuple(Level(*zip(*level, strict=True)) for level in levels),
        tuple(int(first[depth]) + index for depth, index in places),
    )


def links(tree: Tree, qpos: jax.Array, qvel: jax.Array) -> Links:
    """The bodies of `tree` at `qpos` [E, nq], moving with `qvel` [E, nv], in MuJoCo's conventions.

    Computed relative to the root, which is added last: metres of terrain cost no precision.
    """
    q, qd = qpos.T, qvel.T
    quat = tuple(q[i][None] for i in range(3, 7))
    still = (jnp.zeros_like(quat[0]),) * 3
    spin = _rotate(quat, tuple(qd[i][None] for i in range(3, 6)))  # MuJoCo: in the body's own axes
    frames = [_Frames(still, quat, still, spin)]
    for level in tree.levels:
        frames.append(_next_level(level, frames[-1], q, qd))
    all_links = jax.tree.map(lambda *levels: jnp.concatenate(levels), *frames)
    pos, quat, lin, ang = (
        jnp.stack([component[np.array(tree.order)] for component in field], -1).swapaxes(0, 1)
        for field in all_links
    )
    return Links(pos + qpos[:, None, :3], quat, lin + qvel[:, None, :3], ang)


def _links(model: mujoco.MjModel, body: int) -> Iterator[tuple[Any, ...]]:
    """Fields of `Level`, the parent apart, for each joint of `body`; one without axis if it has none."""
    pos, quat = model.body_pos[body], model.body_quat[body]
    first, count = int(model.body_jntadr[body]), int(model.body_jntnum[body])
    if count == 0:
        yield _floats(pos), _floats(quat), (0.0,) * 3, (0.0,) * 3, False, 0, 0, 0.0
    for joint in range(first, first + count):
        kind = mujoco.mjtJoint(model.jnt_type[joint])
        if kind not in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE):
            raise ValueError(
                f"joint '{model.joint(joint).name}' of body '{model.body(body).name}' is a ball or free joint; "
                "behind the root, hinges and slides are known. Model a ball as three hinges."
            )
        frames = map(_floats, (pos, quat, model.jnt_axis[joint], model.jnt_pos[joint]))
        address, dof = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
        yield *frames, kind == mujoco.mjtJoint.mjJNT_SLIDE, address, dof, float(model.qpos0[address])
        pos, quat = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])


def _next_level(level: Level, before: _Frames, q: jax.Array, qd: jax.Array) -> _Frames:
    at = Level(*map(np.array, level))
    parent = jax.tree.map(lambda x: x if x.shape[0] == 1 else x[at.parent], before)
    axis, anchor = _constant(at.axis), _constant(at.anchor)
    moved = q[at.qpos] - _constant(at.zero[:, None])[0]
    speed = qd[at.qvel]
    # The frame before the joint, which moves with the parent.
    quat = _multiply(parent.quat, _constant(at.quat)) if at.quat[:, 1:].any() else parent.quat
    arm = _rotate(parent.quat, _constant(at.pos))
    lin = _plus(parent.lin, _cross(parent.ang, arm))
    pos = _plus(parent.pos, arm)
    # The joint: the link turns about the anchor, or moves along the axis.
    world_axis = _rotate(quat, axis)
    hinge = (at.axis.any(axis=1) & ~at.slides).astype(np.float32)[:, None]
    half = moved * (0.5 * hinge)
    cos, sin = jnp.cos(half), jnp.sin(half)
    turned = _multiply(quat, (cos, *(sin * a for a in axis)))
    ang = _plus(parent.ang, _times(speed * hinge, world_axis))
    if at.anchor.any():
        old, new = _rotate(quat, anchor), _rotate(turned, anchor)
        pos = _plus(pos, _minus(old, new))
        lin = _minus(_plus(lin, _cross(parent.ang, old)), _cross(ang, new))
    if at.slides.any():
        slide = at.slides.astype(np.float32)[:, None]
        shift = _times(moved * slide, world_axis)
        pos = _plus(pos, shift)
        lin = _plus(lin, _plus(_cross(parent.ang, shift), _times(speed * slide, world_axis)))
    return _Frames(pos, turned, lin, ang)


def _floats(x: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, x))


def _constant(x: np.ndarray) -> _Components:
    """[n, k] as k components [n, 1] float32."""
    return tuple(np.float32(x[:, i : i + 1]) for i in range(x.shape[1]))


def _plus(a: _Components, b: _Components) -> _Components:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _minus(a: _Components, b: _Components) -> _Components:
    return tuple(x - y for x, y in zip(a, b, strict=True))


def _times(scale: Any, a: _Components) -> _Components:
    return tuple(scale * x for x in a)


def _cross(a: _Components, b: _Components) -> _Components:
    (ax, ay, az), (bx, by, bz) = a, b
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


def _rotate(quat: _Components, v: _Components) -> _Components:
    """Turn v by the unit quaternion w x y z."""
    w, axis = quat[0], quat[1:]
    twice = _times(2.0, _cross(axis, v))
    return _plus(v, _plus(_times(w, twice), _cross(axis, twice)))


def _multiply(a: _Components, b: _Components) -> _Components:
    (aw, ax, ay, az), (bw, bx, by, bz) = a, b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )
