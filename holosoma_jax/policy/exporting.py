"""From a policy that acts in an environment to the ONNX file of it, with everything a robot needs to know."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from bridges.protocol import Array
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.experiment import Setup, build
from holosoma_jax.files import require_writable
from holosoma_jax.loggers import wandb_sink
from holosoma_jax.policy import motion_graph, onnx, onnx_metadata, policies
from holosoma_jax.policy.loaded import INPUT_NAME
from holosoma_jax.policy.policies import GROUP, PolicySource
from holosoma_jax.robots.urdf import urdf

Signature: TypeAlias = Literal["holosoma", "mjlab"]
FOLDER = "exported"
"""Below the run's folder: what was exported on request."""


def write(
    setup: Setup,
    path: Path,
    iteration: int,
    act: Callable[[Array], Array],
    *,
    batch: Literal[1] | None = 1,
    include_config: bool = True,
    wandb_run_path: str | None = None,
    signature: Signature = "holosoma",
) -> Path:
    """Write the policy `act` as `path`, after comparing the graph with JAX.

    Args:
      setup: the environment that the policy is for; robot, layout and rates are read from it.
      path: target; its folder is created.
      iteration: learning iterations that the policy has seen.
      act: raw observations [N, obs_dim] -> actions [N, A]; a JAX function.
      batch: 1 as holosoma's files; None for any number of rows.
      include_config: False leaves the config out of the file.
      wandb_run_path: see `onnx_metadata.policy_metadata`.
      signature: of a policy that tracks motions: whose names outputs and metadata have.

    Raises:
      OnnxParityError: the graph does not compute what JAX does.
      OSError: nothing can be written.
    """
    spec = setup.env.spec
    metadata = onnx_metadata.policy_metadata(
        compose.to_mapping(setup.cfg),
        setup.robot,
        spec,
        iteration,
        include_config=include_config,
        urdf=urdf(setup.robot),
        wandb_run_path=wandb_run_path,
    )
    task = setup.env.task
    tables = {} if task is None else task.tables(setup.env, signature)
    if task is not None:
        metadata |= task.facts(setup.env)
    return onnx.export_policy(
        path,
        act,
        spec.obs_dims[GROUP],
        spec.action_dim,
        metadata,
        batch=batch,
        tables=tables,
        encode=onnx_metadata.encode_mjlab if tables and signature == "mjlab" else onnx_metadata.encode,
        input_name=motion_graph.INPUT_NAME if tables else INPUT_NAME,
        output_name=motion_graph.OUTPUT_NAME if tables else "action",
    )


def from_checkpoint(
    source: PolicySource,
    target: Path | None = None,
    *,
    batch: Literal[1] | None = 1,
    include_config: bool = True,
    allow_code: Iterable[str] = (),
    signature: Signature = "holosoma",
) -> Path:
    """Export the policy of a checkpoint, under the config that it was trained with.

    The environment, from which the file learns its layout, is one robot on a plane in MuJoCo: neither
    the simulator of the training nor its terrain has to be there.

    Args:
      source: from `policies.find`.
      target: the file; default: ``exported/<step>.onnx`` in the run's folder.
      batch: see `write`.
      include_config: see `write`.
      allow_code: packages that the checkpoint's config may name functions of.
      signature: see `write`.

    Raises:
      ConfigError: the source is an ONNX file already, `target` cannot be written, or the policy tracks no motion
        and so has one signature only.
    """
    if policies.is_file(source.path):
        raise ConfigError(
            f"--checkpoint {source.path}: is a policy file already; pass a run or a checkpoint."
        )
    target = target or source.folder / FOLDER / f"{source.path.name}.onnx"
    trained = compose.from_mapping(source.config, str(source.path), allow_code=allow_code)
    try:
        require_writable(target.parent)
    except OSError as error:
        raise _unwritten(target, error) from None
    setup = build(bench(trained), evaluation=True, adapt=source.adapt)
    try:
        if signature != "holosoma" and not setup.env.task.facts(setup.env):
            raise ConfigError(
                f"--signature {signature}: {source.path} tracks no motion, so its file has one signature; leave it out."
            )
        policy = source.policy(setup)
        return write(
            replace(setup, cfg=trained),
            target,
            int(source.path.name),
            policy.act,
            batch=batch,
            include_config=include_config,
            wandb_run_path=wandb_sink.run_path(source.folder),
            signature=signature,
        )
    except OSError as error:
        raise _unwritten(target, error) from None
    finally:
        setup.bridge.close()


def _unwritten(target: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{target}: cannot be written ({error.strerror or error}); choose --output FILE.")


def bench(cfg: Config) -> Config:
    """One robot on a plane, in the simulator that is always there; observed as in training."""
    ground = replace(cfg.terrain.terrain_term, mesh_type="plane")
    return replace(
        cfg,
        training=replace(cfg.training, num_envs=1, multigpu=False),
        simulator=replace(cfg.simulator, name="mujoco"),
        terrain=replace(cfg.terrain, terrain_term=ground),
    )
