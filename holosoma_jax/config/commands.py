"""The flags of the commands that take no config: `export`, `replay`, `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ExportArgs:
    """Export."""

    checkpoint: str | None = None
    """A run directory, one of its checkpoints/<step> folders, or wandb://ENTITY/PROJECT/RUN/FILE."""
    output: str | None = None
    """The .onnx file to write; default: exported/<step>.onnx in the run's folder."""
    batch: Literal["1", "any"] = "1"
    """Rows of the input: 1 as robots' programs want it, or any number."""
    include_config: bool = True
    """Put the training config into the file; paths in it are cut to their last part."""
