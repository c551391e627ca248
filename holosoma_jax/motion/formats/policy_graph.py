"""The clip inside a policy file: an ONNX graph whose further outputs follow a second input, the frame's number.

Two signatures circulate. holosoma's outputs hold the pose of the anchor body, quaternion x y z w; those of mjlab and
BeyondMimic hold the tracked bodies, w x y z. The clip is as long as the table that the graph gathers from; of a graph
of another kind it ends where larger numbers change nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion.formats.onnx_graph import GraphIndex
from holosoma_jax.motion.formats.raw import Raw, StoredBodies, checked, unit

if TYPE_CHECKING:
    import onnxruntime

TIME_STEP = "time_step"
"""The second input: a frame's number, cut to an integer and held within the clip."""
JOINTS = ("joint_pos", "joint_vel")
HOLOSOMA = (*JOINTS, "ref_pos_xyz", "ref_quat_xyzw")
"""Outputs of holosoma's signature, behind the action."""
MJLAB = (*JOINTS, "body_pos_w", "body_quat_w", "body_lin_vel_w", "body_ang_vel_w")
"""Outputs of mjlab's and BeyondMimic's signature, behind the action."""
CLIPS = "motion_clips"
"""Our metadata: [[name, frames], ...] of the clips that lie one behind the other."""
ANCHOR = "torso_link"
"""The anchor of a file that does not name it: of all that holosoma and BeyondMimic ship."""
_KINDS: Mapping[str, type] = {"int64": np.int64, "int32": np.int32, "double": np.float64}
"""Type of `TIME_STEP` as ONNX Runtime writes it -> NumPy's; float32 otherwise."""
_FPS = 50.0  # of a file that does not state its rate: holosoma's, BeyondMimic's and mjlab's
_MOST = 1_000_000  # frames
_BEYOND = 1 << 23  # a frame that no clip has; exact in float32
_PROBES = (1, 2, 3, 10, 100, 1_000, 10_000)  # frames after one that looks like the last


def parse(path: Path) -> list[Raw]:
    """The clips of a policy file.

    Raises:
      ConfigError: it is no such file, or holds no clip.
    """
    import onnx
    import onnxruntime

    file, options = str(path), onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        model = onnx.load(file)  # with what lies in a file beside it
        data = model.SerializeToString()
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{file}: is no ONNX file, or a damaged one ({cause}).") from None
    names = signature([item.name for item in session.get_outputs()])
    if not names or not any(item.name == TIME_STEP for item in session.get_inputs()):
        raise ConfigError(
            f"{file}: is a policy without a motion clip; one of whole-body tracking has the input '{TIME_STEP}'."
        )
    meta = {k: _value(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    rows = _rows(file, GraphIndex(model.graph), session, names)
    checked(file, "joint_vel", rows["joint_vel"], rows["joint_pos"].shape)
    if "ref_pos_xyz" in rows:
        whole = _with_anchor(file, path.stem, rows, meta)
    else:
        whole = _with_bodies(file, path.stem, rows, meta)
    return [_part(whole, *part) for part in _parts(meta, path.stem, len(whole.root_pos))]


def signature(outputs: Sequence[str]) -> tuple[str, ...]:
    """The outputs that hold a clip: `HOLOSOMA`, as many of `MJLAB` as there are, or none."""
    if set(HOLOSOMA) <= set(outputs):
        return HOLOSOMA
    if set(MJLAB[:4]) <= set(outputs):
        return tuple(name for name in MJLAB if name in outputs)
    return ()


def bodies_of(meta: Mapping[str, Any]) -> tuple[tuple[str, ...] | None, str | None]:
    """Tracked bodies and anchor that decoded metadata names: its own keys, or those of the training's config."""
    bodies, anchor = _list(meta.get("body_names")), _list(meta.get("anchor_body_name"))
    config: Any = meta.get("experiment_config")
    for key in ("command", "setup_terms", "motion_command", "params", "motion_config"):
        config = config.get(key) if isinstance(config, Mapping) else None
    if isinstance(config, Mapping):
        bodies = bodies or _list(config.get("body_names_to_track"))
        anchor = anchor or _list(config.get("body_name_ref"))
    return tuple(bodies) or None, anchor[0] if len(anchor) == 1 else None


def at_frame(
    session: onnxruntime.InferenceSession, frame: float, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """The outputs `names` at `frame`, without a leading axis of 1."""
    feed = {
        item.name: np.zeros([d if isinstance(d, int) else 1 for d in item.shape], np.float32)
        for item in session.get_inputs()
    }
    feed |= feed_frame(session, frame)
    values = (np.asarray(value) for value in session.run(list(names), feed))
    return {name: x[0] if x.ndim > 1 and len(x) == 1 else x for name, x in zip(names, values, strict=True)}


def feed_frame(session: onnxruntime.InferenceSession, frame: float) -> dict[str, np.ndarray]:
    """The input `TIME_STEP` of a session, in its type; empty if it has none."""
    for item in session.get_inputs():
        if item.name == TIME_STEP:
            kind = next((kind for name, kind in _KINDS.items() if name in item.type), np.float32)
            return {TIME_STEP: np.full([d if isinstance(d, int) else 1 for d in item.shape], frame, kind)}
    return {}


def _rows(
    file: str, graph: GraphIndex, session: onnxruntime.InferenceSession, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Every frame of the outputs, [F, ...]."""
    table = graph.table(names[0])
    count = (
        None if table is None else table[0].dims[table[1]] or None
    )  # an empty table says nothing of the frames
    if count is not None and count > _MOST:
        raise ConfigError(f"{file}: its table has {count} frames; wanted at most {_MOST}.")
    try:
        end = at_frame(session, _BEYOND, names)
    except Exception:  # a graph that does not hold the number within the clip
        end = None

    def is_end(frame: int) -> bool:
        found = at_frame(session, frame, names)
        return end is not None and all(np.array_equal(found[name], end[name]) for name in names)

    frames: list[dict[str, np.ndarray]] = []
    while len(frames) < (count or _MOST):
        try:
            frames.append(at_frame(session, len(frames), names))
        except Exception as error:
            if end is None and frames:
                break
            cause = " ".join(str(error).split())
            raise ConfigError(f"{file}: the graph fails at frame {len(frames)}: {cause}") from None
        last = len(frames) - 1
        if count is None and is_end(last) and all(is_end(last + ahead) for ahead in _PROBES):
            break
    stacked = {name: np.stack([frame[name] for frame in frames]) for name in names}
    return {
        name: checked(file, name, _shaped(name, x), (None,) * (2 + name.startswith("body")))
        for name, x in stacked.items()
    }


def _shaped(name: str, rows: np.ndarray) -> np.ndarray:
    """[F, n], of bodies [F, K, 3 or 4], however the graph nests them."""
    if not name.startswith("body"):
        return rows.reshape(len(rows), -1)
    return rows.reshape(len(rows), -1, 4 if "quat" in name else 3)


def _with_anchor(file: str, name: str, rows: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Raw:
    return Raw(
        file=file,
        format="holosoma policy",
        name=name,
        fps=_rate(meta),
        root_pos=rows["ref_pos_xyz"],
        root_rot=unit(file, "ref_quat_xyzw", rows["ref_quat_xyzw"]),
        root_body=bodies_of(meta)[1] or ANCHOR,
        joint_pos=rows["joint_pos"],
        joint_vel=rows["joint_vel"],
        joint_names=_joint_names(meta, rows["joint_pos"].shape[1]),
        quaternion=("xyzw",),
        commanded=True,
    )


def _with_bodies(file: str, name: str, rows: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Raw:
    names, anchor = bodies_of(meta)
    pos, quat = rows["body_pos_w"], unit(file, "body_quat_w", rows["body_quat_w"])
    if names is not None and len(names) != pos.shape[1]:
        raise ConfigError(
            f"{file}: metadata 'body_names' has {len(names)} names, output 'body_pos_w' {pos.shape[1]} bodies."
        )
    row, body = 0, None  # nameless: the root is the first, as in BeyondMimic's and mjlab's lists
    if names is not None:
        root = next((n for n in ("pelvis", "Trunk") if n in names), None)
        body = None if root else anchor if anchor in names else names[0]
        row = names.index(root or body or names[0])
    return Raw(
        file=file,
        format="mjlab or BeyondMimic policy",
        name=name,
        fps=_rate(meta),
        root_pos=pos[:, row],
        root_rot=quat[:, row],
        root_body=body,
        joint_pos=rows["joint_pos"],
        joint_vel=rows["joint_vel"],
        joint_names=_joint_names(meta, rows["joint_pos"].shape[1]),
        quaternion=("wxyz",),
        bodies=None if names is None else StoredBodies(names, pos, quat),
        conventional=False,
        commanded=True,
    )


def _part(whole: Raw, name: str, first: int, end: int) -> Raw:
    """Frames `first` to `end` - 1."""
    part, bodies = slice(first, end), whole.bodies
    if bodies is not None and bodies.quat is not None:
        bodies = StoredBodies(bodies.names, bodies.pos[part], bodies.quat[part])
    assert whole.joint_vel is not None
    return dataclasses.replace(
        whole,
        name=name,
        root_pos=whole.root_pos[part],
        root_rot=whole.root_rot[part],
        joint_pos=whole.joint_pos[part],
        joint_vel=whole.joint_vel[part],
        bodies=bodies,
    )


def _rate(meta: Mapping[str, Any]) -> float:
    dt = meta.get("control_dt")
    return 1.0 / dt if isinstance(dt, float) and dt > 0.0 else _FPS


def _parts(meta: Mapping[str, Any], stem: str, frames: int) -> list[tuple[str, int, int]]:
    """Name, first frame and end of every clip; one where the metadata does not say otherwise."""
    stated, at = meta.get(CLIPS), 0
    parts = []
    for item in stated if isinstance(stated, list) else ():
        match item:
            case [str(name), int(count)] if count > 0 and not isinstance(count, bool):
                parts.append((name, at, at + count))
                at += count
            case _:
                return [(stem, 0, frames)]
    return parts if at == frames else [(stem, 0, frames)]


def _joint_names(meta: Mapping[str, Any], count: int) -> tuple[str, ...] | None:
    """The list of `count` names that the metadata has; None: the order is found by kinematics."""
    lists = (tuple(_list(meta.get(key))) for key in ("dof_names", "joint_names"))
    return next((names for names in lists if len(names) == count), None)


def _list(value: Any) -> list[str]:
    """A list of names, written as one, or as text with commas between them; 'robot/' in front of them is left out."""
    if isinstance(value, str):
        value = [part.strip(" []'\"()") for part in value.split(",")]
    return (
        [str(item).rpartition("/")[2] for item in value if item] if isinstance(value, (list, tuple)) else []
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
