"""`python -m holosoma_jax.train`: train a policy, or resume a run.

::

    python -m holosoma_jax.train exp:g1-29dof
    python -m holosoma_jax.train --training.checkpoint logs/locomotion/20260102_030405-g1-29dof
    python -m holosoma_jax.train --training.warm-start logs/locomotion/20260102_030405-g1-29dof simulator:mjwarp

The second continues a run that was stopped or killed, with the settings it had; further arguments
change them. The third begins a new run with the policy of that one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from holosoma_jax import runtime
from holosoma_jax.config import compose
from holosoma_jax.config.command_line import tokens
from holosoma_jax.config.schema import Config
from holosoma_jax.config.trust import Saved
from holosoma_jax.parallel import distributed, launch

PROG = "python -m holosoma_jax.train"
ABOUT = (
    "Trains a policy. With --training.checkpoint it resumes a run, with --training.warm-start it begins a new "
    "one with a run's policy: the config is then that run's, unless exp:NAME or --config names another; choices "
    "and overrides change it."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: the budget is spent. 1: the run failed, or its last iterations could not be saved. 2: the
    configuration is wrong. 3: of several processes another one failed. 128 + n: signal n stopped the run, and it
    was saved.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    runtime.prepare()

    def body() -> int:
        cfg = compose.parse_or_exit(argv, PROG, ABOUT, base=saved_config(argv))
        runtime.prepare(deterministic=cfg.training.deterministic)
        if distributed.is_member(cfg):
            return distributed.guarded(lambda: _train_with_others(cfg))
        from holosoma_jax.training import session

        session.require(cfg)  # here, so that it is said once
        return launch.run(cfg, argv) if cfg.training.multigpu else _run(cfg)

    return runtime.command(body, "interrupted before the first iteration: there is nothing to save")


def _train_with_others(cfg: Config) -> int:
    cfg = distributed.join(cfg)
    from holosoma_jax.training import session

    session.require(cfg)
    return _run(cfg)


def _run(cfg: Config) -> int:
    from holosoma_jax.evaluation import film
    from holosoma_jax.training import session

    return session.run(cfg, film.walk)


def saved_config(argv: Sequence[str]) -> Saved | None:
    """The config of the run that `argv` continues or begins with, unless it names a preset itself.

    Raises:
      ConfigError: there is no such run.
    """
    if tokens.wants_help(argv):
        return None
    given = tokens.parse(argv)
    texts = {o.path: o.text for o in given.overrides}
    path = texts.get(("training", "checkpoint")) or texts.get(("training", "warm_start"))
    if path is None or given.chosen("exp") is not None:
        return None
    from holosoma_jax.runs import run_config

    return run_config.saved_config(path)


if __name__ == "__main__":
    sys.exit(main())
