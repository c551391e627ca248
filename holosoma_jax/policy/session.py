"""One export at the terminal: from flags to a file and what is to be known about it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from holosoma_jax.config import own_files
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.commands import ExportArgs
from holosoma_jax.motion.formats.policy_graph import CLIPS, TIME_STEP
from holosoma_jax.policy import deployment, exporting, onnx, onnx_policy, policies
from holosoma_jax.policy.loaded import INPUT_NAME

SHOWN = 4
"""Clips that the summary names."""


def run(args: ExportArgs) -> Path:
    """Export as `args` say; prints a summary, returns the file.

    Raises:
      ConfigError: no checkpoint, or the file cannot be written.
    """
    if not args.checkpoint:
        raise ConfigError("--checkpoint is missing: give a run directory, a checkpoint or pretrained:NAME.")
    target = _target(args.output)
    source = policies.find(args.checkpoint)
    path = exporting.from_checkpoint(
        source,
        target,
        batch=1 if args.batch == "1" else None,
        include_config=args.include_config,
        allow_code=[*filter(None, (args.allow_code or "").split(",")), *own_files.FILES],
        signature=args.signature,
    )
    console = Console(highlight=False)
    console.print(_summary(path))
    if args.signature == "mjlab":
        console.print("For programs that read policies of mjlab and BeyondMimic.")
    found = [] if args.signature == "mjlab" else deployment.problems(path)
    if not found and args.signature == "holosoma":
        console.print("holosoma's deployment program takes it as it is.")
    for problem in found:
        console.print(Text(f"note: for holosoma's deployment program, {problem}."), soft_wrap=True)
    console.print(Text(f"written to {path}"), soft_wrap=True)
    return path


def _target(output: str | None) -> Path | None:
    if output is None:
        return None
    path = Path(output)
    if path.suffix != ".onnx" or path.is_dir():
        raise ConfigError(f"--output: got '{output}'; wanted a file that ends in .onnx.")
    return path


def _summary(path: Path) -> Table:
    file = onnx_policy.load(path)
    table = Table(show_header=False, box=None)
    table.add_row("robot", f"{file.metadata['robot']}, {len(file.dof_names)} joints")
    if file.clip:
        clips = file.metadata[CLIPS]
        frames, dt = sum(count for _, count in clips), file.metadata["control_dt"]
        names = ", ".join(name for name, _ in clips[:SHOWN]) + (", ..." if len(clips) > SHOWN else "")
        table.add_row("input", f"obs, {file.obs_dim} entries; {TIME_STEP}, a frame's number")
        table.add_row("output", ", ".join(("actions", *file.clip)))
        table.add_row("clip", f"{names}: {frames} frames, {frames * dt:g} s")
        table.add_row("anchor", f"{file.metadata['anchor_body_name']}")
    else:
        table.add_row("input", f"{INPUT_NAME}, {file.obs_dim} entries")
    table.add_row("iteration", f"{file.iteration}")
    table.add_row("file", f"{path.stat().st_size / 1e6:.2f} MB, ONNX opset {onnx.OPSET}")
    table.add_row("metadata", ", ".join(sorted(file.metadata)))
    return table
