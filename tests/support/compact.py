"""Makes `tests/data/holosoma`, a cut of the recorded runs that is small enough to ship.

`python -m tests.support.compact` reads the full data (see `tests.support.shared`) and writes the first
`STEPS` control steps of both robots' traces and the parts of the other files that tests read.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import yaml

from tests.support.shared import COMPACT, SHARED

STEPS = {"trace_g1_loco_ppo": 90, "trace_t1_loco_fastsac": 100, "trace_g1_wbt_ppo": 48}
UNUSED = ("act/target", "act/torque_substep", "act/q_substep", "act/qd_substep", "pre/contact_forces")
UNUSED_GROUPS = ("full/", "rew_scaled/")
FACTS = (
    "num_steps", "num_envs", "sim_dt", "dt", "decimation", "reward_terms", "obs_slices", "command_terms",
    "curriculum", "randomization_setup", "body_names", "dof_names", "num_compute_average_epl",
)  # fmt: skip


def trace(name: str, steps: int) -> None:
    """The first `steps` control steps of a trace; of the actor's observations every fifth."""
    data = dict(np.load(SHARED / "golden" / f"{name}.npz"))
    facts = json.loads((SHARED / "golden" / f"{name}.json").read_text())
    strided = data["strided_steps"]
    kept: dict[str, np.ndarray] = {}
    for key, value in data.items():
        if (
            key in UNUSED
            or key.startswith(UNUSED_GROUPS)
            or (name.endswith("wbt_ppo") and key.startswith("final"))
        ):
            continue
        if key.startswith("const/"):
            kept[key] = value
        elif key.startswith(("event/", "done/")):
            index = data[f"{key.split('/')[0]}/index"]
            kept[key] = value[index[:, 0] < steps]
        elif key.startswith(("motion/", "aligned/")):  # one row more: before and after each step
            kept[key] = value[: steps + 1]
        elif len(value) == len(strided):
            kept[key] = value[strided < steps]
        elif key == "obs/actor_obs":
            kept[key] = value[strided[strided < steps]]
        else:
            kept[key] = value[:steps]
    _write(f"golden/{name}.npz", kept)
    facts = {key: facts[key] for key in FACTS if key in facts} | {"num_steps": steps}
    (COMPACT / "golden" / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")


def _write(name: str, arrays: dict[str, Any]) -> None:
    target = COMPACT / name
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(target, **arrays)


def main() -> None:
    """Write every file."""
    for name, steps in STEPS.items():
        trace(name, steps)
    for name in ("gait", "curriculum", "quaternion", "terrain_mix", "wbt_step", "wbt_adaptive_sampler"):
        _write(f"golden/pure/{name}.npz", dict(np.load(SHARED / "golden" / "pure" / f"{name}.npz")))
    figures = yaml.safe_load((SHARED / "spec" / "algo_figures.yaml").read_text())["presets"]
    kept = {"presets": {"g1_29dof_fast_sac": figures["g1_29dof_fast_sac"]}}
    (COMPACT / "spec" / "algo_figures.yaml").write_text(yaml.safe_dump(kept))


if __name__ == "__main__":
    main()
