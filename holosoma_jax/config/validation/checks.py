"""What types cannot say: relations between fields, and terms against their functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from holosoma_jax.config import extensions
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.keys import Path, Sources
from holosoma_jax.config.schema import Config, ObjectConfig, TerrainTermConfig, TrainingConfig
from holosoma_jax.config.validation import limits
from holosoma_jax.config.validation.limits import Refuse
from holosoma_jax.config.validation.validate import label, refused


def check(config: Config, sources: Sources) -> None:
    """What types cannot say: relations between fields, and terms against their functions.

    Raises:
      ConfigError: the first violation.
    """

    def refuse(path: str, value: Any, wanted: str) -> None:
        raise refused(tuple(path.split(".")), value, f"wanted {wanted}.", sources)

    _check_relations(config, refuse)
    _check_mesh(config.terrain.terrain_term, sources, refuse)
    limits.check(config, refuse)
    _check_terms(config, sources, refuse)


def _check_relations(config: Config, refuse: Refuse) -> None:
    groups = config.observation.groups
    _learner_check(config.algo.name)(config, refuse)
    _check_processes(config.training, refuse)
    if set(groups) != {"actor_obs", "critic_obs"}:
        refuse("observation.groups", sorted(groups), "exactly the groups actor_obs and critic_obs")
    for name, group in groups.items():
        if not group.terms:
            refuse(f"observation.groups.{name}.terms", {}, "at least one term")
    if not config.reward.terms:
        refuse("reward.terms", {}, "at least one term")
    pos = config.robot.init_state.pos
    if pos is not None and not (0.0 <= pos[2] <= 100.0 and max(map(abs, pos[:2])) <= 10_000.0):
        refuse("robot.init_state.pos", list(pos), "metres from the tile's origin, the third from 0 to 100")
    _check_object(config.robot.object, refuse)
    sim, ground = config.simulator.config.sim, config.terrain.terrain_term
    length, step = sim.max_episode_length_s, sim.control_decimation / sim.fps
    if length < step:
        refuse("simulator.config.sim.max_episode_length_s", length, f"at least one control step, {step} s")
    tiles = ground.terrain_config
    if ground.mesh_type == "trimesh" and sum(tiles.values()) <= 0:
        refuse("terrain.terrain_term.terrain_config", tiles, "a probability above 0 for some kind of tile")
    if ground.mesh_type == "load_obj" and not ground.obj_file_path:
        refuse("terrain.terrain_term.obj_file_path", "", "the mesh to load: an OBJ, STL or PLY file")
    for name in ("amplitude_range", "stair_height_range"):
        low, high = getattr(ground, name)
        if not 0 <= low <= high:
            refuse(f"terrain.terrain_term.{name}", [low, high], "[low, high] with 0 <= low <= high")


def _check_object(box: ObjectConfig, refuse: Refuse) -> None:
    """Numbers of a box that no simulator takes."""
    x, y, z = box.init_pos
    if not (0.0 <= z <= 100.0 and max(abs(x), abs(y)) <= 10_000.0):
        refuse("robot.object.init_pos", list(box.init_pos), "metres, the third from 0 to 100")
    if box.inertia is not None and 2.0 * max(box.inertia) > sum(box.inertia):
        what = "three moments of a body: each at most the sum of the other two"
        refuse("robot.object.inertia", list(box.inertia), what)


def _check_mesh(ground: TerrainTermConfig, sources: Sources, refuse: Refuse) -> None:
    """A mesh that a flag names is loaded; one in a file stays there when another ground is chosen over it."""
    for name in ("obj_file_path", "up_axis"):
        path, value = ("terrain", "terrain_term", name), getattr(ground, name)
        if ground.mesh_type != "load_obj" and value and label(path, sources).startswith("--"):
            refuse(".".join(path), value, f"terrain:terrain-load-obj beside it, not {ground.mesh_type}")


def _check_processes(training: TrainingConfig, refuse: Refuse) -> None:
    given, total = training.distributed, training.distributed.num_processes
    this, address = given.process_id, given.coordinator_address
    if this is None:
        if address is not None:
            refuse(
                "training.distributed.coordinator_address", address, "process_id beside it: which one this is"
            )
    elif not training.multigpu:
        refuse("training.distributed.process_id", this, "training.multigpu true beside it")
    elif address is None:
        refuse(
            "training.distributed.process_id", this, "coordinator_address beside it: host:port of process 0"
        )
    elif total is None or this >= total:
        refuse("training.distributed.process_id", this, f"less than num_processes, which is {total}")


def _learner_check(name: str) -> Callable[[Config, Refuse], None]:
    """What the learner of that name asks of a config; its own record's `check` where it is not built in."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    return getattr(extensions.imported(name, "algo.name"), "check", None) or (lambda config, refuse: None)


def check_ppo(config: Config, refuse: Refuse) -> None:
    """Sizes and bounds of PPO's settings."""
    ppo, num_envs = config.algo.ppo, config.training.num_envs
    samples = num_envs * ppo.num_steps_per_env
    if samples < ppo.num_mini_batches:
        limit = f"at most num_envs * num_steps_per_env = {samples}"
        refuse("algo.config.num_mini_batches", ppo.num_mini_batches, limit)
    for role in ("actor", "critic"):
        if len(widths := getattr(ppo, f"{role}_hidden")) > 32:
            refuse(f"algo.config.{role}_hidden", list(widths), "at most 32 layers")
        rate, low, high = (getattr(ppo, f"{bound}{role}_learning_rate") for bound in ("", "min_", "max_"))
        if low is not None and low > rate:
            refuse(f"algo.config.min_{role}_learning_rate", low, f"at most the initial rate, {rate}")
        if high is not None and high < rate:
            refuse(f"algo.config.max_{role}_learning_rate", high, f"at least the initial rate, {rate}")


def check_fast_sac(config: Config, refuse: Refuse) -> None:
    """Sizes and bounds of FastSAC's settings."""
    sac = config.algo.fast_sac
    if sac.num_updates > 1 and sac.policy_frequency < 2:
        # updates i with i mod policy_frequency = 1 move the actor
        what = f"at least 2 where num_updates is {sac.num_updates}, or the actor is never updated"
        refuse("algo.config.policy_frequency", sac.policy_frequency, what)
    if sac.num_steps > sac.buffer_size:
        refuse("algo.config.num_steps", sac.num_steps, f"at most buffer_size = {sac.buffer_size}")
    if sac.symmetric_networks and not sac.use_symmetry:
        refuse("algo.config.symmetric_networks", True, "use_symmetry true beside it, or false")
    if sac.final_target_entropy_ratio is not None and sac.anneal_share == 0:
        given, what = (
            sac.final_target_entropy_ratio,
            "null, or anneal_share above 0: the target falls with the rates",
        )
        refuse("algo.config.final_target_entropy_ratio", given, what)
    if sac.v_min >= sac.v_max:
        refuse("algo.config.v_min", sac.v_min, f"less than v_max = {sac.v_max}")
    if sac.log_std_min >= sac.log_std_max:
        refuse("algo.config.log_std_min", sac.log_std_min, f"less than log_std_max = {sac.log_std_max}")


BUILT_IN: Mapping[str, Callable[[Config, Refuse], None]] = {"ppo": check_ppo, "fast_sac": check_fast_sac}


def _terms(config: Config) -> Iterator[tuple[str, Path, Any]]:
    """(kind in the registry, path, term) of every term."""
    for kind, section in extensions.TERM_SECTIONS:
        for path, terms in _below(config, section):
            for name, value in terms.items():
                yield kind, (*path, name), value


def _below(node: Any, section: Path, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """(path, value) of what lies at `section` below a config's `node`."""
    if not section:
        yield path, node
    elif section[0] == "*":
        for name, value in node.items():
            yield from _below(value, section[1:], (*path, name))
    else:
        yield from _below(getattr(node, section[0]), section[1:], (*path, section[0]))


def _check_terms(config: Config, sources: Sources, refuse: Refuse) -> None:
    from holosoma_jax.envs.terms import registry  # imports JAX: only once everything else is right

    for kind, path, term in _terms(config):
        limits.check_params(".".join((*path, "params")), term.params, refuse)
        try:
            registry.check(kind, path[-1], term.func, term.params)
        except ConfigError as error:
            raise ConfigError(_in_users_words(str(error), kind, path, sources)) from error


def _in_users_words(message: str, kind: str, path: Path, sources: Sources) -> str:
    """The registry's message with the key as the user knows it instead of the registry's name."""
    prefix = f"{kind}.{path[-1]}.params."
    if message.startswith(prefix):
        key, _, problem = message.removeprefix(prefix).partition(": ")
        return f"{label((*path, 'params', *key.split('.')), sources)}: {problem}"
    problem = message.partition(": ")[2] or message
    named = (*path, "func")  # the name of the function, or else the term's
    return f"{label(named if named in sources else path, sources)}: {problem}"
