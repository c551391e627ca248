"""The numbers of a robot's compiled model that its physics depends on, to be kept with what was trained on it.

What `robots.record` holds beside them (gains, limits, armature, masses) is left out, and what is only for looks. Values
are those that do not depend on how MuJoCo stores them: an inertia is the matrix in the body's frame, and a mesh is the
box about its vertices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import mujoco
import numpy as np

from holosoma_jax.robots.model import collides

JOINT = ("axis", "pos", "stiffness", "margin", "solref", "solimp")
DOF = ("damping", "frictionloss", "solref", "solimp")
GEOM = (
    "friction", "condim", "contype", "conaffinity", "priority", "solmix", "solref", "solimp", "margin", "gap",
)  # fmt: skip
TENDON = (
    "stiffness", "damping", "frictionloss", "armature", "limited", "range", "margin", "lengthspring",
    "solref_lim", "solimp_lim", "solref_fri", "solimp_fri",
)  # fmt: skip
EQUALITY = ("type", "data", "active0", "solref", "solimp")
"""Fields of `mujoco.MjModel`, without their prefix"""

Numbers = Mapping[str, Any]
"""name -> number or list of numbers"""


def model_record(model: mujoco.MjModel) -> dict[str, Mapping[str, Numbers]]:
    """Kind of part -> part -> name -> number or list of numbers, ready for JSON.

    Args:
      model: the robot alone: a free joint, then hinges.
    """
    kinds: dict[str, Callable[[mujoco.MjModel], Iterator[tuple[str, Numbers]]]] = {
        "bodies": _bodies,
        "joints": _joints,
        "geoms": _geoms,
        "tendons": _tendons,
        "equalities": _equalities,
        "pairs": _pairs,
    }
    return {kind: dict(parts(model)) for kind, parts in kinds.items()}


def _bodies(model: mujoco.MjModel) -> Iterator[tuple[str, Numbers]]:
    """The place of every body in its parent's frame (the root's is that of the pose), and its inertia in its own."""
    for b in range(1, model.nbody):
        turn = _matrix(model.body_iquat[b])
        inertia = turn @ np.diag(model.body_inertia[b]) @ turn.T
        place = {"pos": model.body_pos[b], "quat": _upper(model.body_quat[b])} if b > 1 else {}
        yield (
            _name(model, "body", b),
            _plain(
                parent=_name(model, "body", int(model.body_parentid[b])),
                **place,
                center_of_mass=model.body_ipos[b],
                inertia=inertia[np.triu_indices(3)],
                gravcomp=model.body_gravcomp[b],
            ),
        )


def _joints(model: mujoco.MjModel) -> Iterator[tuple[str, Numbers]]:
    for j in range(1, model.njnt):
        dof = int(model.jnt_dofadr[j])
        values = {key: getattr(model, f"jnt_{key}")[j] for key in JOINT}
        values |= {f"dof_{key}": getattr(model, f"dof_{key}")[dof] for key in DOF}
        yield _name(model, "jnt", j), _plain(springref=model.qpos_spring[model.jnt_qposadr[j]], **values)


def _geoms(model: mujoco.MjModel) -> Iterator[tuple[str, Numbers]]:
    """Those that collide, or that a contact pair names."""
    paired = {int(g) for g in (*model.pair_geom1, *model.pair_geom2)}
    numbers: dict[int, int] = {}
    for g in range(model.ngeom):
        if not collides(model, g) and g not in paired:
            continue
        body = int(model.geom_bodyid[g])
        number = numbers[body] = numbers.get(body, -1) + 1
        values = {key: getattr(model, f"geom_{key}")[g] for key in GEOM}
        yield f"{_name(model, 'body', body)}/{number}", _plain(**_shape(model, g), **values)


def _shape(model: mujoco.MjModel, g: int) -> dict[str, Any]:
    """What a geom is and where, in its body's frame."""
    kind, turn = mujoco.mjtGeom(model.geom_type[g]), _matrix(model.geom_quat[g])
    shape: dict[str, Any] = {"type": kind.name.removeprefix("mjGEOM_").lower()}
    if kind not in (mujoco.mjtGeom.mjGEOM_MESH, mujoco.mjtGeom.mjGEOM_SDF):
        return shape | {
            "size": model.geom_size[g],
            "pos": model.geom_pos[g],
            "quat": _upper(model.geom_quat[g]),
        }
    mesh = model.geom_dataid[g]
    first = model.mesh_vertadr[mesh]
    corners = model.mesh_vert[first : first + model.mesh_vertnum[mesh]] @ turn.T + model.geom_pos[g]
    return shape | {"low": corners.min(0), "high": corners.max(0), "faces": model.mesh_facenum[mesh]}


def _tendons(model: mujoco.MjModel) -> Iterator[tuple[str, Numbers]]:
    for t in range(model.ntendon):
        path = slice(model.tendon_adr[t], model.tendon_adr[t] + model.tendon_num[t])
        values = {key: getattr(model, f"tendon_{key}")[t] for key in TENDON}
        wraps = {"over": model.wrap_objid[path], "by": model.wrap_prm[path]}
        yield _name(model, "tendon", t), _plain(**wraps, **values)


def _equalities(model: mujoco.MjModel) -> Iterator[tuple[str, Numbers]]:
    for e in range(model.neq):
        values = {key: getattr(model, f"eq_{key}")[e] for key in EQUALITY}
        between = [model.eq_obj1id[e], model.eq_obj2id[e]]
        yield str(e), _plain(between=np.array(between), **values)


def _pairs(model: mujoco.MjModel) -> Iterator[tuple[str, Numbers]]:
    """Pairs of bodies that never touch, and pairs of its own geoms that do."""
    for number, signature in enumerate(sorted(int(s) for s in model.exclude_signature)):
        yield f"exclude/{number}", _plain(bodies=np.array([signature >> 16, signature & 0xFFFF]))
    for p in range(model.npair):
        geoms = np.array([model.pair_geom1[p], model.pair_geom2[p]])
        yield str(p), _plain(geoms=geoms, friction=model.pair_friction[p], margin=model.pair_margin[p])


def _matrix(quat: np.ndarray) -> np.ndarray:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)


def _upper(quat: np.ndarray) -> np.ndarray:
    """The one of the rotation's two quaternions whose largest component is positive."""
    return quat if quat[np.argmax(np.abs(np.round(quat, 3)))] > 0 else -quat


def _plain(**values: Any) -> dict[str, Any]:
    """The values as Python numbers, floats as the shortest decimals of the same float32."""
    return {
        key: value if isinstance(value, str) else _number(np.asarray(value)) for key, value in values.items()
    }


def _number(value: np.ndarray) -> Any:
    if value.ndim:
        return [_number(x) for x in value]
    return float(str(np.float32(value))) if np.issubdtype(value.dtype, np.floating) else int(value)


def _name(model: mujoco.MjModel, kind: str, index: int) -> str:
    named = {"body": model.body, "jnt": model.jnt, "tendon": model.tendon}[kind]
    return named(index).name or f"unnamed {index}"
