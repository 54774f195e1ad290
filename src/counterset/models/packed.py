"""Towers in bfloat16 with their weights laid out once for the processor's matrix units.

PyTorch lays the weights of a linear layer out anew at every call. oneDNN can keep them
laid out; torch's own compiler calls the operators below for that (`torch.ops.mkldnn`).
Where a torch lacks them, the plain operators are used.

A feature is read at one token: behind its attention, the last block computes no other.
"""

from __future__ import annotations

from typing import Any

import torch
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import nn
from torch.nn import functional

REVISION = 2
"""Raised by whoever changes which bits packed towers give. 2 = the last block computes the token that is read."""
ROWS = 3200
"""Rows of a typical call (64 photos of 50 patches): which layout is best depends a little on it."""
QUICK = 1.702
"""`QuickGELU` is x * sigmoid(1.702 * x)."""


class PackedLinear(nn.Module):
    """`activation(x @ weight.T + bias)` in bfloat16, as `nn.Linear` and what is named behind it: gelu or swish."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, activation: str = "none") -> None:
        super().__init__()
        laid_out = torch.ops.mkldnn._reorder_linear_weight
        self._weight = laid_out(weight.detach().to(torch.bfloat16).contiguous(), ROWS)
        self._bias = None if bias is None else bias.detach().to(torch.bfloat16)
        self._activation: tuple[str, list[float], str] = (activation, [], "none" if activation == "gelu" else "")

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

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None, places: torch.Tensor | None) -> torch.Tensor:
        """(B, T, D) -> (B, T, D), or (B, 1, D) of the tokens at (B,) places; a (T, T) mask is added."""
        batch, tokens, width = x.shape
        # (B, T, 3 D) -> 3 x (B, heads, T, D / heads)
        parts = self._in(x).view(batch, tokens, 3, self._num_heads, width // self._num_heads).permute(2, 0, 3, 1, 4)
        queries = parts[0]
        if places is not None:
            queries = at(queries.transpose(1, 2), places).transpose(1, 2)
            mask = None if mask is None else mask[places][:, None, None]
        mixed = functional.scaled_dot_product_attention(queries, parts[1], parts[2], mask)
        return self.output(mixed.transpose(1, 2).reshape(batch, -1, width))

    def values(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, T, D): what each token gives to whichever attends to it."""
        projected: torch.Tensor = self._in(tokens)
        return projected.chunk(3, dim=-1)[2]

    def output(self, mixed: torch.Tensor) -> torch.Tensor:
        """(..., D) of values -> (..., D)."""
        projected: torch.Tensor = self._out(mixed)
        return projected


class PackedBlock(nn.Module):
    """A plain block of open_clip's transformers, under the same names."""

    def __init__(self, block: ResidualAttentionBlock) -> None:
        super().__init__()
        self.ln_1, self.ls_1, self.ln_2, self.ls_2 = block.ln_1, block.ls_1, block.ln_2, block.ls_2
        self.attn = PackedAttention(block.attn)
        self.mlp = _pack_mlp(block.mlp)

    def forward(
        self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, places: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, T, D) -> (B, T, D), or (B, 1, D) of the tokens at (B,) places; a (T, T) mask is added."""
        mixed = self.attn(self.ln_1(x), attn_mask, places)
        x = self.ls_1(mixed).add_(x if places is None else at(x, places))
        result: torch.Tensor = self.ls_2(self.mlp(self.ln_2(x))).add_(x)
        return result


class ClassTokenBlock(PackedBlock):
    """The last block of a tower that is read at its class token."""

    def forward(
        self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, places: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, T, D) -> (B, 1, D)."""
        return super().forward(x, attn_mask, torch.zeros(len(x), dtype=torch.int64))


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


def at(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(B, T, ...) -> (B, 1, ...): the token at each of (B,) places."""
    return x[torch.arange(len(x), device=x.device), places].unsqueeze(1)


def pack(tower: nn.Module) -> bool:
    """Lay out the weights of a vision transformer of open_clip in bfloat16, in place; the caller rounds the rest.

    Towers and layers of other kinds stay as they are.

    Returns:
        Whether anything was laid out.
    """
    if not isinstance(tower, VisionTransformer):
        return False
    is_read_at_class = tower.attn_pool is None and tower.pool_type == "tok" and not tower.output_tokens
    if not pack_blocks(tower.transformer, ClassTokenBlock if is_read_at_class else PackedBlock):
        return False
    if _is_patches(tower.conv1, tower.image_size):
        tower.conv1 = PackedPatches(tower.conv1)
    return True


def pack_blocks(transformer: Any, last: type[PackedBlock] = PackedBlock) -> bool:
    """Lay out the weights of a transformer in bfloat16 if all its blocks are plain, in place.

    Args:
        transformer: one of open_clip's.
        last: what its last block becomes.

    Returns:
        Whether anything was laid out.
    """
    blocks = transformer.resblocks
    if not _has_operators() or not all(type(block) is ResidualAttentionBlock and _is_plain(block) for block in blocks):
        return False
    for number, block in enumerate(blocks, 1):
        blocks[number - 1] = (last if number == len(blocks) else PackedBlock)(block)
    return True


def read_at(transformer: Any, x: torch.Tensor, mask: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """What a transformer that was packed or not makes of the tokens at (B,) places: (B, T, D) -> (B, D)."""
    *blocks, last = transformer.resblocks
    if not isinstance(last, PackedBlock):
        return at(transformer(x, attn_mask=mask), places)[:, 0]
    for block in blocks:
        x = block(x, mask)
    read: torch.Tensor = last(x, mask, places)
    return read[:, 0]


def _pack_mlp(mlp: Any) -> nn.Sequential:
    """GELUs are part of the product before them; a quick one is the swish of 1.702 times as much, over as much."""
    wide, narrow = mlp.c_fc, mlp.c_proj
    if type(mlp.gelu) is nn.GELU and mlp.gelu.approximate == "none":
        return nn.Sequential(PackedLinear(wide.weight, wide.bias, "gelu"), PackedLinear(narrow.weight, narrow.bias))
    if type(mlp.gelu) is QuickGELU:
        quick = PackedLinear(wide.weight * QUICK, wide.bias * QUICK, "swish")
        return nn.Sequential(quick, PackedLinear(narrow.weight / QUICK, narrow.bias))
    return nn.Sequential(PackedLinear(wide.weight, wide.bias), mlp.gelu, PackedLinear(narrow.weight, narrow.bias))


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
