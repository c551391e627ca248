"""`python -m holosoma_jax.eval`: score a checkpoint or an ONNX policy, without learning.

Prints a table and writes ``eval/<policy>.json`` beside the policy; docs/evaluation.md explains both.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holosoma_jax import runtime
from holosoma_jax.config import compose, own_files
from holosoma_jax.config.command_line import tokens
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.evaluation import EvalArgs
from holosoma_jax.config.trust import Saved

if TYPE_CHECKING:
    from holosoma_jax.policy.policies import PolicySource

PROG = "python -m holosoma_jax.eval"
ABOUT = "Scores a policy. The config is the policy's own; choices and overrides change it."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: scored. 2: the arguments are wrong, the policy does not fit, or an extra is missing. 130: Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    runtime.prepare()

    def body() -> int:
        rest, given = _without_config(argv)
        sources: list[PolicySource] = []

        def saved_config(args: EvalArgs) -> Saved:
            source, watched = _find(rest, given, args)
            sources.append(source)
            from holosoma_jax.evaluation import session

            return session.saved_config(source, watched=watched)

        cfg, args = compose.parse_or_exit(rest, PROG, ABOUT, extra=EvalArgs, base=saved_config)
        from holosoma_jax.evaluation import session

        session.run(cfg, args, *sources)
        return 0

    return runtime.command(body, "interrupted: there are no scores")


def _without_config(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """`argv` without --config FILE, and that: a policy file may bring no config, so that a person gives it."""
    try:
        chosen = tokens.parse(argv).chosen("exp")
        checkpoints = [o.text for o in tokens.parse(argv).overrides if o.path == ("checkpoint",)]
    except ConfigError:
        return list(argv), []  # said where the arguments are parsed
    is_file = (
        Path(checkpoints[-1] or "").suffix.lower() in (".onnx", ".pt", ".pth", ".jit")
        if checkpoints
        else False
    )
    if chosen is None or not is_file or not chosen.raw[0].startswith("--config"):
        return list(argv), []
    return [argument for argument in argv if argument not in chosen.raw], list(chosen.raw)


def _find(argv: Sequence[str], given: Sequence[str], args: EvalArgs) -> tuple[PolicySource, bool]:
    """The policy, and whether the user wants to watch it."""
    if not args.checkpoint:  # --help alone, or forgotten: known without the seconds that JAX takes
        raise ConfigError(
            "--checkpoint is missing: give a run directory, a checkpoint, pretrained:NAME or an .onnx file."
        )
    from holosoma_jax.policy import policies

    overrides = tokens.parse(argv).overrides
    assets = [o.text for o in overrides if o.path == ("robot", "asset")]
    config = compose.to_mapping(compose.load(given)) if given else None
    headless = [o.text for o in overrides if o.path == ("training", "headless")]
    asset = own_files.robot(assets[-1] or "") if assets else config["robot"]["asset"] if config else None
    source = policies.find(args.checkpoint, args.policy, asset=asset, config=config)
    return source, headless[-1:] in (["false"], ["False"], ["FALSE"])


if __name__ == "__main__":
    sys.exit(main())
