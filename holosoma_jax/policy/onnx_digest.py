"""The digest of a policy file of ours, which tells whether it is as it was exported."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

PRODUCER = "holosoma_jax"
"""Name of the producer in a model of ours."""
DIGEST = "sha256"
"""Key of the digest over graph and metadata."""
DIGESTED = 1
"""`model_version` of our files that have a digest: said twice, so that damage to one does not hide the other."""


def digest(model: onnx.ModelProto) -> str:
    """SHA-256 of a model's graph and metadata, the entry `DIGEST` itself left out."""
    bare = type(model)()
    bare.CopyFrom(model)
    entries = sorted((item.key, item.value) for item in bare.metadata_props if item.key != DIGEST)
    del bare.metadata_props[:]
    for key, value in entries:
        bare.metadata_props.add(key=key, value=value)
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def check_digest(model: onnx.ModelProto) -> bool:
    """Whether a file has a digest; other programs, and earlier versions of this one, write none.

    Raises:
      ValueError: it has one and is not as it was exported.
    """
    stated = {item.key: item.value for item in model.metadata_props}
    # Of a damaged file, protobuf hands out bytes where text should be.
    if odd := [
        name for name, text in stated.items() if not (isinstance(name, str) and isinstance(text, str))
    ]:
        raise ValueError(f"metadata {odd[0]!r} is not UTF-8: the file is damaged; get or export it again")
    if DIGEST not in stated:
        if model.producer_name != PRODUCER or model.model_version < DIGESTED:
            return False
        raise ValueError(
            f"metadata '{DIGEST}' is missing: the file is damaged or was edited; export it again"
        )
    found = digest(model)
    if stated[DIGEST] != json.dumps(found):
        raise ValueError(
            f"metadata '{DIGEST}' is {stated[DIGEST]!r:.40}, graph and metadata have {found[:12]}...: the file was "
            "changed or damaged after its export; export it again"
        )
    return True
