"""Sizes that no machine holds, and numbers that contradict each other, refused before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from holosoma_jax.config.schema import Config, FastSacConfig, PpoConfig
from holosoma_jax.config.schema.types import MAX_INT

Refuse = Callable[[str, Any, str], None]
"""Raises ConfigError for a dotted key, the value it has and what is wanted instead."""
LARGEST = 1e12
"""Bytes. Smaller sizes that do not fit a machine are refused when its arrays are known."""
CELLS = 100_000_000
"""Height samples of a terrain at most (0.4 GB)."""
WIDEST = 1e6
"""The largest end of a range that something is drawn from, whatever its unit."""
_ORDERED = (("min_", "max_"), ("low", "high"), ("_down_threshold", "_up_threshold"))
"""Parts of parameters' names: the one with the first is not above the one with the second."""


def check(config: Config, refuse: Refuse) -> None:
    """Raise, by `refuse`, for the first size that is out of reach."""
    sim = config.simulator.config.sim
    longest = MAX_INT / sim.fps * sim.control_decimation
    if sim.max_episode_length_s > longest:
        refuse(
            "simulator.config.sim.max_episode_length_s",
            sim.max_episode_length_s,
            f"at most {longest:.3g} s: control steps are counted in 32 bits",
        )
    _check_terrain(config, refuse)
    for size, what, factors in _sizes(config):
        if size > LARGEST:
            key = max(factors, key=lambda name: factors[name][0] / factors[name][1])
            refuse(key, factors[key][0], f"less: {what} would need {size / 1e12:.3g} TB or more")


def _sizes(config: Config) -> Iterator[tuple[float, str, Mapping[str, tuple[float, float]]]]:
    """(bytes at least, what they hold, key -> (value, usual value)) of what grows with the config."""
    algo, envs = config.algo.config, float(config.training.num_envs)
    factors = {"training.num_envs": (envs, 4096.0)}
    row = 0.0
    for name, group in config.observation.groups.items():
        row += 4.0 * len(group.terms) * group.history_length
        factors[f"observation.groups.{name}.history_length"] = (float(group.history_length), 1.0)
    kept = 1.0
    if isinstance(algo, PpoConfig):
        kept = float(algo.num_steps_per_env)
        factors["algo.config.num_steps_per_env"] = (kept, 24.0)
    elif isinstance(algo, FastSacConfig):
        kept = float(algo.buffer_size)
        factors["algo.config.buffer_size"] = (kept, 1024.0)
    yield envs * kept * (row + 8.0), "what the learner keeps of the environments", factors
    yield 400.0 * envs, "the state of the environments", {"training.num_envs": (envs, 4096.0)}
    if config.simulator.name == "mjwarp":
        warp, section = config.simulator.config.mujoco_warp, "simulator.config.mujoco_warp"
        for name, size in (("nconmax_per_env", 300.0), ("njmax_per_env", 150.0)):
            room = float(getattr(warp, name))
            rows = {f"{section}.{name}": (room, 300.0), "training.num_envs": (envs, 4096.0)}
            yield envs * room * size, "contacts and constraints of the environments", rows
    # A learner outside the package checks its own settings: the same names may mean something else there.
    if isinstance(algo, FastSacConfig):
        batch, updates = float(algo.batch_size), float(algo.num_updates)
        factors = {"algo.config.batch_size": (batch, 8192.0), "algo.config.num_updates": (updates, 8.0)}
        yield batch * updates * row, "the samples of one step", factors
        widths = (algo.critic_hidden_dim / 4.0, float(algo.num_atoms))
        factors = {
            "algo.config.num_atoms": (widths[1], 101.0),
            "algo.config.critic_hidden_dim": (widths[0], 192.0),
        }
        factors |= {"algo.config.num_critics": (float(algo.num_critics), 2.0)}
        yield 12.0 * widths[0] * widths[1] * algo.num_critics, "the critics' last layer", factors
        for field in ("actor_hidden_dim", "critic_hidden_dim"):
            width = float(getattr(algo, field))
            yield 6.0 * width * width, "the network", {f"algo.config.{field}": (width, 512.0)}
    if isinstance(algo, PpoConfig):
        for field in ("actor_hidden", "critic_hidden"):
            widths = tuple(float(width) for width in getattr(algo, field))
            size = 12.0 * sum(one * two for one, two in pairwise((row / 4.0 + 1.0, *widths)))
            yield size, "the network", {f"algo.config.{field}": (max(widths, default=1.0), 512.0)}


def _check_terrain(config: Config, refuse: Refuse) -> None:
    term, key = config.terrain.terrain_term, "terrain.terrain_term"
    counted = 1.0 if term.mesh_type == "load_obj" else term.scale_factor
    rows, cols = (max(1, int(n * counted)) for n in (term.num_rows, term.num_cols))
    if rows * cols > 1_000_000:
        name = "num_rows" if term.num_rows / 10 > term.num_cols / 20 else "num_cols"
        name = "scale_factor" if counted > 100 else name
        refuse(f"{key}.{name}", getattr(term, name), f"less: there would be {rows * cols:,} tiles")
    if term.mesh_type != "trimesh":
        return
    if term.horizontal_scale >= 1.0:
        refuse(
            f"{key}.horizontal_scale", term.horizontal_scale, "a number < 1: the tile's middle metre is read"
        )
    border = 2.0 * term.border_size
    cells = 1.0
    for count, length in ((rows, term.terrain_length), (cols, term.terrain_width)):
        cells *= (count * length + border) * term.scale_factor / term.horizontal_scale
    if cells > CELLS:
        usual = {"num_rows": 10, "num_cols": 20, "terrain_length": 8, "terrain_width": 8}
        usual |= {"border_size": 40, "scale_factor": 1}
        ratios = {name: getattr(term, name) / value for name, value in usual.items()}
        ratios["horizontal_scale"] = 0.1 / term.horizontal_scale
        name = max(ratios, key=lambda n: ratios[n])
        fix = "more" if name == "horizontal_scale" else "less"
        what = f"{fix}: the map would have {cells:.3g} height samples, at most {CELLS:,} fit"
        refuse(f"{key}.{name}", getattr(term, name), what)


def check_params(path: str, params: Mapping[str, Any], refuse: Refuse) -> None:
    """Raise, by `refuse`, for a term's parameter that makes no sense whatever the term does with it."""
    for key, value in params.items():
        here = f"{path}.{key}"
        if isinstance(value, Mapping):
            ranged = {f"{key}_{name}": v for name, v in value.items()}
            for name, inner in zip(value, ranged.items(), strict=True):
                _check_value(f"{here}.{name}", *inner, refuse)
        else:
            _check_value(here, key, value, refuse)
        for first, second in _ORDERED:
            other = key.replace(first, second)
            if first not in key or other not in params:
                continue
            if _is_number(value) and _is_number(params[other]) and value > params[other]:
                refuse(here, value, f"at most {other}, which is {params[other]}")


def _check_value(path: str, name: str, value: Any, refuse: Refuse) -> None:
    if "sigma" in name and _is_number(value) and value <= 0:
        refuse(path, value, "a number > 0")
    is_range = "range" in name or "interval" in name
    pair = value if is_range and isinstance(value, tuple) and len(value) == 2 else ()
    if pair and all(map(_is_number, pair)) and pair[0] > pair[1]:
        refuse(path, value, "[low, high] with low <= high")
    if pair and any(_is_number(end) and abs(end) > WIDEST for end in pair):
        refuse(path, value, f"[low, high] within {WIDEST:g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
