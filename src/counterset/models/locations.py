"""What an image tower says of chosen places in a frame: its features, pooled over locations with given weights.

A tower pools its last map into one vector, and what it has learned to look for is the animal. Here the same map is
pooled with weights that are given, and goes through whatever the tower has behind its pool. Where the pool is
attention, the values of the locations are averaged (Zhou, Loy and Dai, 2022, read the same values one by one); in a
vision transformer that reads its class token, the last block is such a pool.
"""

from __future__ import annotations

from typing import Any

import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers.attention_pool import AttentionPoolLatent
from torch import nn
from torch.nn import functional

from counterset.errors import ModelError
from counterset.models.packed import PackedAttention

Pair = tuple[torch.Tensor, torch.Tensor]


def features_and_places(visual: Any, pixels: torch.Tensor, weights: torch.Tensor) -> Pair:
    """(B, D) features as the tower pools them, and (B, D) as the weights do, of any length, from one pass.

    Args:
        visual: an image tower of open_clip.
        pixels: (B, 3, H, W), as the tower takes them.
        weights: (B, S, S) of an even grid over the frame, 0 and above; brought to the tower's own grid.

    Raises:
        ModelError: the tower has no locations that can be read.
    """
    if isinstance(visual, ModifiedResNet) and isinstance(visual.attnpool, nn.Module):
        return _of_resnet(visual, pixels, weights)
    if isinstance(visual, VisionTransformer):
        return _of_transformer(visual, pixels, weights)
    if isinstance(visual, TimmModel) and not hasattr(visual.head, "pool"):
        return _of_timm(visual, pixels, weights)
    raise _unreadable(visual)


def on_grid(weights: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """(B, S, S) weights -> (B, rows * columns) that sum to 1; alike where all are 0."""
    means = functional.interpolate(weights[:, None].float(), (rows, columns), mode="area").flatten(1)
    totals = means.sum(dim=1, keepdim=True)
    return torch.where(totals > 0, means / totals.clamp_min(1e-12), torch.full_like(means, 1 / means.shape[1]))


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(B, L, C) values, (B, L) weights that sum to 1 -> (B, C)."""
    return torch.einsum("blc,bl->bc", values, weights.to(values.dtype))


def _of_resnet(visual: ModifiedResNet, pixels: torch.Tensor, weights: torch.Tensor) -> Pair:
    given = visual.forward_intermediates(pixels, indices=1)
    (maps,) = given["image_intermediates"]
    # (B, C, h, w) -> (B, L, C)
    locations = maps.flatten(2).transpose(1, 2)
    pool = visual.attnpool
    values = pool.v_proj(locations + pool.positional_embedding[1:].to(locations.dtype))
    return given["image_features"], pool.c_proj(_mean(values, on_grid(weights, *maps.shape[2:])))


def _of_transformer(visual: VisionTransformer, pixels: torch.Tensor, weights: torch.Tensor) -> Pair:
    pool = visual.attn_pool
    if pool is not None and (visual.attn_pool_contrastive is not None or visual.pool_type != "tok"):
        raise _unreadable(visual)
    is_token = pool is None and visual.pool_type == "tok"
    depth = len(visual.transformer.resblocks)
    # what the last block gives to the class token are the tokens before it
    given = visual.forward_intermediates(pixels, indices=[depth - 2 if is_token else depth - 1], output_fmt="NLC")
    (tokens,) = given["image_intermediates"]
    on_tokens = on_grid(weights, *visual.grid_size)
    if is_token:
        block = visual.transformer.resblocks[-1]
        mean = visual.ln_post(block.ls_1(_attended(block.attn, block.ln_1(tokens), on_tokens)))
    elif pool is not None:
        mean = visual.ln_post(_attended(pool.attn, pool.ln_k(tokens), on_tokens))
    elif visual.final_ln_after_pool:
        mean = visual.ln_post(_mean(tokens, on_tokens))
    else:
        mean = _mean(visual.ln_post(tokens), on_tokens)
    return given["image_features"], mean @ visual.proj


def _of_timm(visual: TimmModel, pixels: torch.Tensor, weights: torch.Tensor) -> Pair:
    trunk = visual.trunk
    if getattr(trunk, "global_pool", "") == "token":
        last, (tokens,) = trunk.forward_intermediates(pixels, indices=[len(trunk.blocks) - 2], output_fmt="NLC")
        block = trunk.blocks[-1]
        if not hasattr(block.attn, "qkv"):
            raise _unreadable(trunk)
        values = block.attn.qkv(block.norm1(tokens)).chunk(3, dim=-1)[2]
        mean = block.ls1(block.attn.proj(_mean(values, on_grid(weights, *trunk.patch_embed.grid_size))))
        return visual.head(trunk.forward_head(last)), visual.head(trunk.head(trunk.fc_norm(trunk.norm(mean))))
    maps = trunk.forward_features(pixels)
    own = visual.head(trunk.forward_head(maps))
    if maps.ndim == 4:  # (B, C, h, w); the trunk's pool leaves a map of one location as it is
        mean = _mean(maps.flatten(2).transpose(1, 2), on_grid(weights, *maps.shape[2:]))
        return own, visual.head(trunk.forward_head(mean[:, :, None, None]))
    prefix, locations = maps[:, : trunk.num_prefix_tokens], maps[:, trunk.num_prefix_tokens :]
    on_tokens = on_grid(weights, *trunk.patch_embed.grid_size)
    pool = getattr(trunk, "attn_pool", None)
    if pool is None:  # the mean of one location is that location
        alone = torch.cat([prefix, _mean(locations, on_tokens)[:, None]], dim=1)
        return own, visual.head(trunk.forward_head(alone))
    if not isinstance(pool, AttentionPoolLatent) or pool.pos_embed is not None or pool.latent_len > 1:
        raise _unreadable(trunk)
    mean = pool.proj(_mean(pool.kv(locations).chunk(2, dim=-1)[1], on_tokens))
    if pool.mlp is not None:
        mean = mean + pool.mlp(pool.norm(mean))
    return own, visual.head(trunk.head(trunk.fc_norm(mean)))


def _attended(attention: nn.Module, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(B, L, C) tokens -> (B, D): what attention gives whose weights are these in every head."""
    if isinstance(attention, PackedAttention):
        return attention.output(_mean(attention.values(tokens), weights))
    if not isinstance(attention, nn.MultiheadAttention):
        raise _unreadable(attention)
    weight = attention.v_proj_weight if attention.in_proj_weight is None else attention.in_proj_weight.chunk(3)[2]
    bias = None if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)[2]
    mixed: torch.Tensor = attention.out_proj(_mean(functional.linear(tokens, weight, bias), weights))
    return mixed


def _unreadable(tower: object) -> ModelError:
    return ModelError(
        f"annotate.method needs places within a photo, and the annotator's image tower ({type(tower).__name__}) gives "
        "none that can be read; name another annotator, or annotate.method = 'combined'"
    )
