"""Descriptors to torch tensors and back [holosoma]; on the double's "GPU" they are in host memory [test]."""

import ctypes

import numpy as np
import torch

from isaacgym import gymapi

_to = torch.Tensor.to
torch.Tensor.to = lambda self, *where: self if str(where[0]).startswith("cuda") else _to(self, *where)

# int32 as UINT32: [assumed], see gymapi
_KINDS = {
    torch.float32: gymapi.DTYPE_FLOAT32,
    torch.int32: gymapi.DTYPE_UINT32,
    torch.int64: gymapi.DTYPE_UINT64,
}


def wrap_tensor(gym_tensor):
    """A tensor over the descriptor's memory, no copy [docs]."""
    count = int(np.prod(gym_tensor.shape))
    memory = (ctypes.c_float * count).from_address(gym_tensor.data_address)
    return torch.from_numpy(np.ctypeslib.as_array(memory).reshape(tuple(gym_tensor.shape)))


def unwrap_tensor(torch_tensor):
    """A descriptor that does not keep the tensor alive [docs]."""
    if not torch_tensor.is_contiguous():
        raise Exception("Input tensor must be contiguous")  # [assumed]
    descriptor = gymapi.Tensor()
    descriptor.data_address, descriptor.shape = torch_tensor.data_ptr(), tuple(torch_tensor.shape)
    descriptor.dtype, descriptor.device = _KINDS[torch_tensor.dtype], gymapi.acquire_gym().pipeline_device
    return descriptor
