"""Towers in bfloat16 with their weights laid out once for the processor's matrix units.

PyTorch lays the weights of a linear layer out anew at every call. oneDNN can keep them
laid out; torch's own compiler calls the operators below for that (`torch.ops.mkldnn`).
Where a torch lacks them, the plain operators are used.
"""

from __future__ import annotations

from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn
from torch.nn import functional

ROWS = 3200
"""Rows of a typical call (64 photos of 50 patches): which layout is best depends a little on it."""


class PackedLinear(nn.Module):
    """`activation(x @ weight.T + bias)`, as `nn.Linear` and, where asked for, a GELU behind it."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, has_gelu: bool = False) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS)
        self._bias = None if bias is None else bias.detach()
        self._activation: tuple[str, list[float], str] = ("gelu", [], "none") if has_gelu else ("none", [], "")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., K) -> (..., N)."""
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, *self._activation)
        return result


class PackedAttention(nn.Module):
    """Self-attention, as `nn.MultiheadAttention(batch_first=True)` gives it."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self._num_heads = attention.num_heads
        self._in = PackedLinear(attention.in_proj_weight, attention.in_proj_bias)
        self._out = PackedLinear(attention.out_proj.weight, attention.out_proj.bias)

    def forward(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        need_weights: bool = False,
        attn_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, None]:
        """(B, T, D), three times the same, and a (T, T) mask that is added -> (B, T, D) and no weights."""
        if k is not q or v is not q:
            raise ValueError("packed attention is self-attention")
        batch, tokens, width = q.shape
        # (B, T, 3 D) -> 3 x (B, heads, T, D / heads)
        parts = self._in(q).view(batch, tokens, 3, self._num_heads, width // self._num_heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask)
        return self._out(mixed.transpose(1, 2).reshape(batch, tokens, width)), None

    def values(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, T, D): what each token gives to whichever attends to it."""
        projected: torch.Tensor = self._in(tokens)
        return projected.chunk(3, dim=-1)[2]

    def output(self, mixed: torch.Tensor) -> torch.Tensor:
        """(..., D) of values -> (..., D)."""
        projected: torch.Tensor = self._out(mixed)
        return projected


class PackedPatches(nn.Module):
    """A convolution whose stride is its kernel: one linear layer over patches."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self._size = int(convolution.kernel_size[0])
        self._linear = PackedLinear(convolution.weight.flatten(1), convolution.bias)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, D, H / size, W / size)."""
        batch, channels, height, width = pixels.shape
        rows, columns = height // self._size, width // self._size
        patches = pixels.view(batch, channels, rows, self._size, columns, self._size).permute(0, 2, 4, 1, 3, 5)
        mixed = self._linear(patches.reshape(batch, rows * columns, channels * self._size**2))
        result: torch.Tensor = mixed.transpose(1, 2).reshape(batch, -1, rows, columns)
        return result


def pack(tower: nn.Module) -> bool:
    """Lay out the weights of a bfloat16 vision transformer of open_clip, in place.

    Towers and layers of other kinds stay as they are.

    Returns:
        Whether anything was laid out.
    """
    if not isinstance(tower, VisionTransformer) or not pack_blocks(tower.transformer):
        return False
    if _is_patches(tower.conv1, tower.image_size):
        tower.conv1 = PackedPatches(tower.conv1)
    return True


def pack_blocks(transformer: Any) -> bool:
    """Lay out the weights of a bfloat16 transformer's plain blocks, in place.

    Returns:
        Whether anything was laid out.
    """
    if not _has_operators():
        return False
    plain = [block for block in transformer.resblocks if type(block) is ResidualAttentionBlock and _is_plain(block)]
    for block in plain:
        _pack_block(block)
    return bool(plain)


def _pack_block(block: Any) -> None:
    block.attn = PackedAttention(block.attn)
    mlp = block.mlp
    has_gelu = type(mlp.gelu) is nn.GELU and mlp.gelu.approximate == "none"
    mlp.c_fc = PackedLinear(mlp.c_fc.weight, mlp.c_fc.bias, has_gelu=has_gelu)
    mlp.c_proj = PackedLinear(mlp.c_proj.weight, mlp.c_proj.bias)
    if has_gelu:
        mlp.gelu = nn.Identity()


def _has_operators() -> bool:
    return all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))


def _is_plain(block: Any) -> bool:
    """Self-attention whose layers are PyTorch's own."""
    attention = block.attn
    return (
        type(attention) is nn.MultiheadAttention
        and attention.batch_first
        and attention._qkv_same_embed_dim
        and attention.bias_k is None
        and not attention.add_zero_attn
        and not hasattr(block, "ln_1_kv")
        and type(block.mlp.c_fc) is type(block.mlp.c_proj) is nn.Linear
    )


def _is_patches(layer: nn.Module, image_size: tuple[int, int]) -> bool:
    return (
        type(layer) is nn.Conv2d
        and layer.kernel_size[0] == layer.kernel_size[1]
        and layer.kernel_size == layer.stride
        and layer.padding in ((0, 0), "valid")
        and layer.dilation == (1, 1)
        and layer.groups == 1
        and all(side % layer.kernel_size[0] == 0 for side in image_size)
    )
