# MuJoCo's compiled modules have no stubs; its names are taken as Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
