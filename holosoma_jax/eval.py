"""`python -m holosoma_jax.eval`: score a checkpoint or an ONNX policy, without learning.

Prints a table and writes ``eval/<policy>.json`` beside the policy; docs/evaluation.md explains both.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from holosoma_jax import runtime
from holosoma_jax.config import compose, tokens
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.evaluation import EvalArgs
from holosoma_jax.config.trust import Saved

PROG = "python -m holosoma_jax.eval"
ABOUT = "Scores a policy. The config is the policy's own; choices and overrides change it."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: scored. 2: the arguments are wrong, the policy does not fit, or an extra is missing. 130: Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    runtime.prepare()

    def body() -> int:
        cfg, args = compose.parse_or_exit(
            argv, PROG, ABOUT, extra=EvalArgs, base=partial(_saved_config, argv)
        )
        from holosoma_jax.evaluation import session

        session.run(cfg, args)
        return 0

    return runtime.command(body, "interrupted: there are no scores")


def _saved_config(argv: Sequence[str], args: EvalArgs) -> Saved:
    if not args.checkpoint:  # --help alone, or forgotten: known without the seconds that JAX takes
        raise ConfigError("--checkpoint is missing: give a run directory, a checkpoint or an .onnx file.")
    from holosoma_jax.evaluation import session

    headless = [o.text for o in tokens.parse(argv).overrides if o.path == ("training", "headless")]
    return session.saved_config(args, watched=headless[-1:] in (["false"], ["False"], ["FALSE"]))


if __name__ == "__main__":
    sys.exit(main())
