"""The real open_clip path on the demo's own model."""

from __future__ import annotations

import dataclasses
import io
import struct

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image, ImageOps

from counterset.classes import load_classes
from counterset.demo.world.photo import draw_photo
from counterset.errors import ConfigError, ModelError
from counterset.models.labels import label_space
from counterset.models.open_clip_encoder import DEMO_WEIGHTS, load_encoder, weights_sha256
from counterset.models.prompts import label_rows


def jpeg(seed: int) -> bytes:
    out = io.BytesIO()
    draw_photo("ice_bear" if seed % 2 else "lion", "snow", seed).save(out, "JPEG")
    return out.getvalue()


def test_features_equal_open_clips_own_loop() -> None:
    images = [jpeg(seed) for seed in range(13)]
    encoder = load_encoder("demo:annotator")
    features = encoder.encode_images(images, batch_size=4)
    assert features.shape == (13, encoder.embedding_dim)
    name = f"local-dir:{DEMO_WEIGHTS / 'annotator'}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    with torch.inference_mode():
        pixels = torch.stack([preprocess(Image.open(io.BytesIO(image)).convert("RGB")) for image in images])
        naive = model.encode_image(pixels, normalize=True).numpy()
        texts = model.encode_text(open_clip.get_tokenizer(name)(["a photo of snow"]), normalize=True).numpy()
    np.testing.assert_allclose(features, naive, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(["a photo of snow"]), texts, atol=1e-5)
    np.testing.assert_array_equal(features, encoder.encode_images(images, batch_size=4))
    assert encoder.encode_images([], batch_size=4).shape == (0, encoder.embedding_dim)


def test_label_spaces_and_classifiers() -> None:
    specs = load_classes("demo")
    own, imagenet = label_space("classes", specs), label_space("imagenet1k", specs)
    assert len(own.labels) == 8 and len(imagenet.labels) == 1000
    assert imagenet.labels[imagenet.index_of["red_fox"]] == "red fox"
    rows = label_rows(load_encoder("demo:selector"), own, "paper")
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    with pytest.raises(ConfigError, match="has no label"):
        label_space("imagenet1k", load_classes("popular_animals"))
    with pytest.raises(ConfigError, match="every prediction would be right"):
        label_space("classes", specs[:1])
    # Two classes of one name share its label, for as two labels they would tie, and ties are wrong.
    twins = label_space("classes", [specs[0], dataclasses.replace(specs[0], class_id="twin"), specs[1]])
    assert twins.labels == (specs[0].name, specs[1].name)
    assert list(twins.index_of.values()) == [0, 0, 1]


def test_a_photo_whose_exif_cannot_be_written_again_is_embedded() -> None:
    """Pillow turns a photo upright and writes its EXIF anew, which fails for fields of a wrong type."""
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated
    exif[0x0128] = 2
    content = io.BytesIO()
    Image.new("RGB", (64, 48), (9, 90, 200)).save(content, "JPEG", exif=exif)
    spoilt = content.getvalue().replace(b"\x01\x28\x00\x03", b"\x01\x28\x00\x02")  # a short becomes a text
    with pytest.raises(struct.error):
        ImageOps.exif_transpose(Image.open(io.BytesIO(spoilt)))
    assert load_encoder("demo:weak").encode_images([spoilt], batch_size=1).shape[0] == 1


def test_damaged_weights_are_one_sentence(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    for path in (DEMO_WEIGHTS / "annotator").iterdir():
        (folder / path.name).write_bytes(path.read_bytes()[: 1 if path.suffix == ".safetensors" else None])
    with pytest.raises(ModelError, match="cannot be loaded") as error:
        load_encoder(f"local-dir:{folder}")
    assert "\n" not in str(error.value)
    assert weights_sha256("demo:annotator") != weights_sha256("demo:selector")
