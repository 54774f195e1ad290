"""Features pooled over given places: the tower's own where the weights are its own, and blind to what has weight 0."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.timm_model import TimmModel
from PIL import Image
from torch.nn import functional

from counterset.errors import ModelError
from counterset.models.locations import features_and_places, on_grid
from counterset.models.open_clip_encoder import load_encoder
from counterset.models.packed import pack

TEXT = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
SIZE = 64
VIT = {"image_size": SIZE, "layers": 3, "width": 32, "patch_size": 16}


def clip(**vision: Any) -> Any:
    torch.manual_seed(0)
    return open_clip.CLIP(embed_dim=24, vision_cfg=vision, text_cfg=TEXT).eval().visual


def timm_tower(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    tower = TimmModel(name, embed_dim=24, image_size=SIZE, **options)
    tower.set_input_size(SIZE)
    return tower.eval()


TOWERS = {
    "resnet": lambda: clip(image_size=SIZE, layers=[1, 1, 1, 1], width=16, head_width=512),
    "vit": lambda: clip(**VIT, head_width=16),
    "vit, mean": lambda: clip(**VIT, head_width=16, pool_type="avg"),
    "vit, norm after the mean": lambda: clip(**VIT, head_width=16, pool_type="avg", final_ln_after_pool=True),
    "coca": lambda: clip(**VIT, head_width=16, attentional_pool=True, attn_pooler_heads=1, attn_pooler_queries=4),
    "timm convolutions": lambda: timm_tower("resnet10t", pool="avg", proj="linear"),
    "timm convolutions with a head": lambda: timm_tower("tf_efficientnet_lite0", pool="avg", proj="mlp"),
    "timm vit, token": lambda: timm_tower("vit_tiny_patch16_224", pool="token", proj="linear"),
    "timm vit, mean": lambda: timm_tower("vit_tiny_patch16_224", pool="avg", proj="linear"),
    "siglip": lambda: timm_tower("vit_base_patch16_siglip_224", pool="map", proj="none"),
}
MEANS = ("vit, mean", "timm convolutions", "timm convolutions with a head", "timm vit, mean")


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", TOWERS)
@torch.inference_mode()
def test_one_pass_gives_the_towers_own_features_and_places(kind: str, pixels: torch.Tensor) -> None:
    tower = TOWERS[kind]()
    border = torch.zeros(2, 8, 8)
    border[:, :2] = 1
    own, places = features_and_places(tower, pixels, border)
    plain = tower(pixels)
    torch.testing.assert_close(own, plain[0] if isinstance(plain, tuple) else plain, atol=1e-5, rtol=1e-4)
    everywhere = features_and_places(tower, pixels, torch.ones(2, 8, 8))[1]
    assert places.shape == own.shape
    assert bool((functional.cosine_similarity(places, everywhere) < 1 - 1e-4).all())
    if kind in MEANS:  # their own pool gives every location the same weight
        torch.testing.assert_close(everywhere, own, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_attention_with_its_own_weights_gives_its_own_features(pixels: torch.Tensor) -> None:
    """One head each, so that a pool's weights can be given back to it."""
    coca = TOWERS["coca"]()
    (tokens,) = coca.forward_intermediates(pixels, indices=[2], output_fmt="NLC")["image_intermediates"]
    pool = coca.attn_pool
    query = pool.ln_q(pool.query)[None].expand(2, -1, -1)
    normed = pool.ln_k(tokens)
    mixed, weights = pool.attn(query, normed, normed, need_weights=True)
    _, places = features_and_places(coca, pixels, weights[:, 0].reshape(2, 4, 4))
    torch.testing.assert_close(places, coca.ln_post(mixed)[:, 0] @ coca.proj, atol=1e-5, rtol=1e-4)

    siglip = TOWERS["siglip"]()
    tokens = siglip.trunk.forward_features(pixels)
    pool = siglip.trunk.attn_pool
    pool.num_heads, pool.head_dim = 1, pool.num_heads * pool.head_dim
    query, key = pool.q(pool.latent).expand(2, -1, -1), pool.kv(tokens).chunk(2, dim=-1)[0]
    weights = (query @ key.transpose(1, 2) * pool.head_dim**-0.5).softmax(dim=-1)
    own, places = features_and_places(siglip, pixels, weights.reshape(2, 4, 4))
    torch.testing.assert_close(places, own, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_places_without_weight_have_no_part(pixels: torch.Tensor) -> None:
    """In a tower without blocks each location knows its own patch only."""
    tower = clip(**(VIT | {"layers": 1}), head_width=16, pool_type="avg")
    tower.transformer.resblocks = torch.nn.ModuleList([torch.nn.Identity()])
    tower.transformer.forward_intermediates = lambda x, **_: (x, [x])
    corner = torch.zeros(2, 4, 4)
    corner[:, 0, 0] = 1
    changed = pixels.clone()
    changed[:, :, 16:] += 5
    before, after = (features_and_places(tower, each, corner)[1] for each in (pixels, changed))
    torch.testing.assert_close(before, after)
    changed[:, :, :16, :16] += 5
    assert not torch.allclose(before, features_and_places(tower, changed, corner)[1], atol=1e-3)


@torch.inference_mode()
def test_a_packed_tower_gives_the_same_places(pixels: torch.Tensor) -> None:
    plain, packed = TOWERS["vit"]().bfloat16(), TOWERS["vit"]().bfloat16()
    if not pack(packed):
        pytest.skip("this torch has no operators for packed weights")
    border = torch.zeros(2, 4, 4)
    border[:, 0] = 1
    expected, given = (features_and_places(tower, pixels.bfloat16(), border)[1] for tower in (plain, packed))
    assert functional.cosine_similarity(expected.float(), given.float()).min() > 0.999


def test_weights_are_brought_to_the_towers_grid() -> None:
    weights = torch.zeros(2, 4, 4)
    weights[0, :2] = 1
    weights[0, 2:, 2:] = 0.5
    torch.testing.assert_close(on_grid(weights, 2, 2), torch.tensor([[0.4, 0.4, 0.0, 0.2], [0.25] * 4]))


def test_a_tower_without_places_is_refused(pixels: torch.Tensor) -> None:
    with pytest.raises(ModelError, match=r"the annotator's image tower \(Linear\) gives none that can be read"):
        features_and_places(torch.nn.Linear(3, 3), pixels, torch.ones(2, 4, 4))


def test_whole_frames_of_any_shape_are_read_in_order() -> None:
    encoder = load_encoder("demo:annotator")
    rng = np.random.default_rng(0)
    photos = []
    for size in ((90, 60), (60, 90), (64, 64)):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(out, "PNG")
        photos.append(out.getvalue())
    grids = [np.ones((8, 8), np.float32)] * 3
    features, places = encoder.encode_whole(photos, grids, 2)
    assert features.shape == places.shape == (3, encoder.embedding_dim)
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1, atol=1e-5)
    square = encoder.encode_images(photos[2:], 1)
    np.testing.assert_allclose(features[2:], square, atol=0.02)  # nothing is cut off a square
    alone = encoder.encode_whole(photos[1:2], grids[:1], 2)[1]
    np.testing.assert_allclose(alone[0], places[1], atol=1e-5)
    assert [part.shape for part in encoder.encode_whole([], [], 2)] == [(0, encoder.embedding_dim)] * 2
