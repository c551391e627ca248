"""Makes `tests/data/holosoma`, a cut of the recorded runs that is small enough to ship.

`python -m tests.support.compact` reads the full data (see `tests.support.shared`) and writes the first
`STEPS` control steps of each trace and the parts of the other files that tests read.
"""

from __future__ import annotations

import json

import numpy as np
import yaml

from tests.support.shared import COMPACT, SHARED, read_arrays, write_arrays

STEPS = {
    "trace_g1_loco_ppo": 50,
    "trace_g1_loco_ppo_history": 63,
    "trace_t1_loco_fastsac": 50,
    "trace_g1_wbt_ppo": 26,
}
UNUSED = (
    "act/target", "act/torque_substep", "act/q_substep", "act/qd_substep", "afterreset/bin_failed_count",
    "afterreset/gait_phase", "afterreset/penalty_scale", "event/root_state_before_push", "motion/ref_pos_w",
    "motion/ref_quat_w", "pre/contact_forces", "pre/feet_height", "pre/robot_ref_pos_w", "pre/robot_ref_quat_w",
)  # fmt: skip
UNUSED_GROUPS = ("full/", "rew_scaled/")
FACTS = (
    "num_steps", "num_envs", "sim_dt", "dt", "decimation", "reward_terms", "obs_slices", "command_terms",
    "curriculum", "randomization_setup", "body_names", "dof_names", "num_compute_average_epl",
)  # fmt: skip
STRIDE = 2
"""Of the recorded critic observations (every fifth step) the cut has every second."""
STATES = 3
"""Of the 64 recorded states of the tracking terms, which differ more and more from the clip, every third."""
TILES = 5
"""Columns of the recorded terrain's tiles, of 20."""


def trace(name: str, steps: int) -> None:
    """The first `steps` control steps of a trace; observations of every tenth."""
    data = read_arrays(SHARED / "golden" / f"{name}.npz")
    facts = json.loads((SHARED / "golden" / f"{name}.json").read_text())
    strided = data["strided_steps"]
    rows = np.flatnonzero(strided < steps)[::STRIDE]
    cut: dict[str, np.ndarray] = {}
    for key, value in data.items():
        if (
            key in UNUSED
            or key.startswith(UNUSED_GROUPS)
            or (name.endswith("wbt_ppo") and key.startswith("final"))
        ):
            continue
        if key.startswith("const/"):
            cut[key] = value
        elif key.startswith(("event/", "done/")):
            index = data[f"{key.split('/')[0]}/index"]
            cut[key] = value[index[:, 0] < steps]
        elif key.startswith(("motion/", "aligned/")):  # one row more: before and after each step
            cut[key] = value[: steps + 1]
        elif len(value) == len(strided):
            cut[key] = value[rows]
        elif key == "obs/actor_obs":
            cut[key] = value[strided[rows]]
        else:
            cut[key] = value[:steps]
    write_arrays(COMPACT / "golden" / f"{name}.npz.xz", cut)
    facts = {key: facts[key] for key in FACTS if key in facts} | {"num_steps": steps}
    (COMPACT / "golden" / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")


def pure(name: str) -> dict[str, np.ndarray]:
    """Arrays of a file of functions' inputs and outputs."""
    return read_arrays(SHARED / "golden" / "pure" / f"{name}.npz")


def tracking_terms() -> dict[str, np.ndarray]:
    """Recorded states, each with its frame of the clip."""
    data = pure("wbt_step")
    count = len(data["env_origins"])
    unused = [f"{owner}/ref_{part}_w" for owner in ("motion", "robot") for part in ("pos", "quat")]
    return {k: v[::STATES] if v.shape[:1] == (count,) else v for k, v in data.items() if k not in unused}


def terrain() -> dict[str, np.ndarray]:
    """The first `TILES` columns of tiles with the border before them and one cell after, and what was asked there."""
    data = pure("terrain_mix")
    border, tile, cell, low = 400, 80, 0.1, -40.0
    width = border + TILES * tile + 1
    data["height_field_raw"] = data["height_field_raw"][:, :width]
    for name in ("tile_origins", "tile_type", "tile_difficulty"):
        data[name] = data[name][:, :TILES]
    end = low + cell * (width - 1)
    inside = data["query_xy"][:, 1] < end - 1.0  # the highest point of a grid around each was asked, too
    for name in ("query_xy", "query_height", "query_height_grid"):
        data[name] = data[name][inside]
    inside = (data["feet_pos"][..., 1] < end).all(-1) & (data["base_pos"][:, 1] < end - 1.0)
    for name in ("feet_pos", "feet_height", "base_pos", "base_quat", "base_height"):
        data[name] = data[name][inside]
    return {k: v for k, v in data.items() if k != "sampled_env_origins"}


def main() -> None:
    """Write every file."""
    for name, steps in STEPS.items():
        trace(name, steps)
    whole = {name: pure(name) for name in ("gait", "curriculum", "quaternion", "wbt_adaptive_sampler")}
    for name, arrays in (whole | {"wbt_step": tracking_terms(), "terrain_mix": terrain()}).items():
        write_arrays(COMPACT / "golden" / "pure" / f"{name}.npz.xz", arrays)
    facts = json.loads((SHARED / "golden" / "pure" / "meta.json").read_text())
    sampler = {"wbt_adaptive_sampler": {"config": facts["wbt_adaptive_sampler"]["config"]}}
    (COMPACT / "golden" / "pure" / "meta.json").write_text(json.dumps(sampler, indent=1) + "\n")
    figures = yaml.safe_load((SHARED / "spec" / "algo_figures.yaml").read_text())["presets"]
    preset = {"presets": {"g1_29dof_fast_sac": figures["g1_29dof_fast_sac"]}}
    (COMPACT / "spec" / "algo_figures.yaml").write_text(yaml.safe_dump(preset))


if __name__ == "__main__":
    main()
