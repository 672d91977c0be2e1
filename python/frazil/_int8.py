"""Linear layers in 8 bits, for CPUs: torch's dynamic quantization.

Torch 2.13 warns that its quantized tensors will go; there is nothing else in it yet that is as fast on CPUs.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

__all__ = ["quantize_linears"]


class _Linear(torch.nn.Module):
    """A linear layer whose weights are 8-bit integers, with one scale an output; the inputs' scale is of each call.

    The inputs' range is that of all values of the call, so that a text's embedding depends, a little, on what texts
    are encoded with it.
    """

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scales = (weight.abs().amax(1) / 127).clamp_min(1e-12).double()  # 1e-12: a row of zeros
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor.* are deprecated")
            rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        bias = None if layer.bias is None else layer.bias.detach().float()
        self._packed: Any = torch.ops.quantized.linear_prepack(rounded, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # All 8 bits of the inputs: with 7, which no product could overflow, errors are three times as large
        result: torch.Tensor = torch.ops.quantized.linear_dynamic(x, self._packed, False)
        return result


def quantize_linears(model: torch.nn.Module) -> None:
    """Replace a float32 model's linear layers; embeddings, attention's products and normalizations stay float32.

    Raises:
        ValueError: this torch cannot do it.
    """
    if not hasattr(torch, "quantize_per_channel"):
        raise ValueError(f"dtype: torch {torch.__version__} has no int8 layers any more; float32 works")
    engine = torch.backends.quantized.engine
    # Of the engines of x86 the one that loses least to overflowing 16-bit sums on CPUs without VNNI
    if "onednn" in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = "onednn"
    try:
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if type(child) is torch.nn.Linear:
                    setattr(module, name, _Linear(child))
    finally:
        torch.backends.quantized.engine = engine
