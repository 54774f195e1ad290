"""One reading of a picture: every format, mode and orientation, hostile files, and all that reads photos."""

from __future__ import annotations

import io
import pickle
import random
import struct
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image, PngImagePlugin
from pydantic import ValidationError

from counterset.config import CurateConfig
from counterset.errors import PictureError
from counterset.models.decoding import PixelDecoder
from counterset.picture_files import MAX_SCANS, take_apart
from counterset.pictures import MAX_ASPECT_RATIO, MAX_PIXELS, Picture, rgb
from counterset.release.bundle import for_plain_readers, strip_metadata
from counterset.release.publish.thumbnails import thumbnail_uri
from counterset.release.torch_photos import PhotoDataset
from counterset.schemas import IMAGES
from counterset.stages.curate import inspect_photos
from counterset.tables import table_of

from .odd_photos import GREY_16, ORIENTATIONS, PHOTOS, as_pillow, assert_same, encoded, exif, grey_16, scene


def inspect(content: bytes) -> dict[str, Any]:
    candidates = pa.table({"photo_id": ["a"], "class_id": ["lion"]})
    images = table_of(IMAGES, {"photo_id": ["a"], "image": [content]})
    found = inspect_photos(images, candidates, CurateConfig(), shard="s")
    return dict((found.photos if found.photos.num_rows else found.rejects).to_pylist()[0])


@pytest.mark.parametrize("name", PHOTOS)
def test_a_file_is_read_as_pillow_reads_it_upright(name: str) -> None:
    content = PHOTOS[name]
    picture = Picture.read(content)
    assert_same(picture.rgb(), as_pillow(content))
    assert (picture.width_px, picture.height_px) == picture.rgb().size == as_pillow(content).size


@pytest.mark.parametrize("name", [*PHOTOS, "grey_16"])
def test_bundled_hashed_thumbnailed_and_given_to_torch_as_evaluated(name: str) -> None:
    content = PHOTOS.get(name, GREY_16)
    evaluated = rgb(content)
    bundled = strip_metadata(content)
    assert bundled is not None and b"secret" not in bundled
    assert_same(rgb(bundled), evaluated)
    assert strip_metadata(bundled) == bundled
    lossless = encoded(evaluated, "PNG")
    for way in (content, bundled):
        row = inspect(way)
        assert row["phash"] == inspect(lossless)["phash"]
        assert (row["width_px"], row["height_px"]) == evaluated.size
        assert thumbnail_uri(way) == thumbnail_uri(lossless)
        rows = pa.table({"photo_id": ["a"], "class_id": ["c"]})
        assert_same(PhotoDataset(rows, {"c": 0}, lambda _, way=way: way)[0][0], evaluated)


@pytest.mark.parametrize("name", [*PHOTOS, "grey_16"])
def test_plain_readers_of_exports_see_what_is_evaluated(name: str) -> None:
    content = PHOTOS.get(name, GREY_16)
    given = for_plain_readers(content, may_adapt=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(Image.open(io.BytesIO(given)).convert("RGB"), rgb(content))
    assert for_plain_readers(content, may_adapt=False) == content
    if Picture.read(content).is_plain:
        assert given == content


@pytest.mark.parametrize("name", [*PHOTOS, "grey_16"])
def test_both_ways_of_models_see_the_same(name: str) -> None:
    """The fast way resizes 8-bit numbers; open_clip's own resizes what `rgb` gives."""
    content = PHOTOS.get(name, GREY_16)
    preprocess = PreprocessCfg(size=64)
    decoder = PixelDecoder(preprocess)
    fast = decoder.normalise(decoder.stack([content]), torch.float32)[0]
    plain = image_transform_v2(preprocess, is_train=False)(rgb(content))
    assert float((fast - plain).abs().max()) < 0.1
    assert float(torch.cosine_similarity(fast.flatten(), plain.flatten(), dim=0)) > 0.9999


@pytest.mark.parametrize("tag", ORIENTATIONS)
def test_a_photo_that_lies_on_its_side_has_the_hash_of_the_upright_one(tag: int) -> None:
    upright = scene()
    for stored in ORIENTATIONS:  # the way to store it so that `tag` makes it upright
        lying = as_pillow(encoded(upright, "PNG", exif=exif(stored)))
        content = encoded(lying, "PNG", exif=exif(tag))
        if as_pillow(content).tobytes() == upright.tobytes() and as_pillow(content).size == upright.size:
            break
    else:
        pytest.fail("no way to store it")
    assert inspect(content)["phash"] == inspect(encoded(upright, "PNG"))["phash"]


def test_sixteen_bits_are_scaled() -> None:
    np.testing.assert_array_equal(np.asarray(rgb(GREY_16))[:, :, 0], grey_16() >> 8)


def test_orientations_that_are_damaged_count_as_upright() -> None:
    content = PHOTOS["JPEG 6"]
    at = content.index(b"Exif\0\0") + 6
    whole = take_apart(content)
    assert whole.orientation == 6
    for position in range(at, at + 40):
        for value in (0, 7, 255):
            damaged = content[:position] + bytes([value]) + content[position + 1 :]
            found = take_apart(damaged)
            assert found.pixels == whole.pixels and 1 <= found.orientation <= 8
    # XMP's copy does not count, as in browsers.
    assert take_apart(encoded(scene(), "JPEG", xmp=b'<x tiff:Orientation="6"/>')).orientation == 1


def test_colour_profiles_stay_in_bundles_and_decide_nothing() -> None:
    for name in ("jpeg", "png", "webp"):
        bundled = strip_metadata(PHOTOS[name])
        assert bundled is not None
        before = Image.open(io.BytesIO(PHOTOS[name])).info["icc_profile"]
        assert Image.open(io.BytesIO(bundled)).info["icc_profile"] == before
    for kind in ("JPEG", "PNG", "WEBP"):
        content = encoded(scene(), kind, icc_profile=np.random.default_rng(0).bytes(3_000_000))
        bundled = strip_metadata(content)
        assert bundled is not None and len(bundled) < 100_000  # or anything could be handed on in one
        assert "icc_profile" not in Image.open(io.BytesIO(bundled)).info
        assert_same(rgb(bundled), rgb(content))
    odd = encoded(scene(), "PNG", icc_profile=b"not a profile at all")
    assert_same(rgb(odd), scene())


# Hostile files


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(width: int, height: int, *, bits: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    row = (width * {0: 1, 2: 3, 6: 4}[colour] * bits + 7) // 8 + 1
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(b"\0" * row) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def with_scans(content: bytes, count: int) -> bytes:
    """A progressive JPEG with its last scan repeated."""
    at = content.rfind(b"\xff\xda")
    return content[:-2] + content[at:-2] * count + b"\xff\xd9"


def refusal(content: bytes) -> tuple[str, str]:
    with pytest.raises(PictureError) as refused:
        rgb(content)
    assert inspect(content)["reason"] == refused.value.reason
    return refused.value.reason, str(refused.value)


def test_more_pixels_than_curation_takes_are_decoded_nowhere() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    for content in (png(side, side), png(13_000, 13_000)):
        assert refusal(content)[0] == "too_large"
        assert thumbnail_uri(content) is None and strip_metadata(content) is None
    assert refusal(png(3_000, 10))[0] == "aspect_ratio"
    small = encoded(scene().quantize(8), "GIF")
    place = small.index(b"\x2c")
    assert refusal(small[: place + 1] + struct.pack("<HH", 60_000, 60_000) + small[place + 5 :])[0] == "too_large"
    webp = bytearray(PHOTOS["webp"])
    webp[24:30] = (16_000).to_bytes(3, "little") * 2
    assert refusal(bytes(webp))[0] == "too_large"
    jpeg = bytearray(PHOTOS["jpeg"])
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 50_000, 50_000)
    assert refusal(bytes(jpeg))[0] == "too_large"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert refusal(png(12_000, 12_000))[0] == "too_large"  # Pillow would warn


def test_passes_over_a_jpeg_are_bounded() -> None:
    content = encoded(Image.new("L", (2_000, 2_000), 128), "JPEG", progressive=True)
    num_scans = content.count(b"\xff\xda")
    assert rgb(with_scans(content, MAX_SCANS - num_scans)).size == (2_000, 2_000)
    started = time.process_time()
    assert refusal(with_scans(content, 3_000)) == ("too_large", f"more than {MAX_SCANS} scans")
    assert time.process_time() - started < 1


def test_texts_and_profiles_that_unpack_to_gigabytes_are_never_unpacked() -> None:
    bomb = zlib.compress(bytes(200_000_000), 9)
    texts = b"".join(chunk(b"zTXt", b"k%d\0\0" % number + bomb) for number in range(50))
    profile = chunk(b"iCCP", b"x\0\0" + bomb)
    for extra in (texts, profile, chunk(b"eXIf", bytes(1_000_000))):
        content = png(300, 300, extra=extra)
        started = time.process_time()
        assert rgb(content).size == (300, 300)
        bundled = strip_metadata(content)
        assert bundled is not None and len(bundled) < 2_000
        assert time.process_time() - started < 1


def test_only_the_first_frame_costs_anything() -> None:
    frames = [scene().rotate(10 * number) for number in range(8)]
    for kind in ("GIF", "WEBP", "PNG"):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        bundled = strip_metadata(content)
        assert bundled is not None and len(bundled) < len(content) / 2
        assert_same(rgb(content), rgb(bundled))


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 300 300\n%%EndComments\nshowpage\n%%EOF\n",
        *(encoded(scene(), kind) for kind in ("TIFF", "BMP", "PPM", "TGA", "JPEG2000", "ICO", "PCX")),
        b"<html><body>404</body></html>",
        b"",
        b"\xff",
    ],
)
def test_other_formats_reach_no_decoder(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("Pillow looked for a format of its own choice")

    monkeypatch.setattr(Image, "open", opened)
    assert refusal(content) == ("undecodable", "not a JPEG, PNG, WebP or GIF file")
    assert thumbnail_uri(content) is None and strip_metadata(content) is None
    with pytest.raises(PictureError, match="photo a cannot be read"):
        PhotoDataset(pa.table({"photo_id": ["a"], "class_id": ["c"]}), {"c": 0}, lambda _: content)[0]


@pytest.mark.parametrize("name", ["jpeg", "progressive", "png", "gif", "webp", "lossless webp"])
def test_truncated_files_are_refused(name: str) -> None:
    content = PHOTOS[name]
    cuts = [1, 2, 3, 10, 100, 300, len(content) // 2, len(content) - 14]
    if name == "progressive":  # between two scans, where every pixel is there, but coarse
        cuts += [len(content) - position for position in range(len(content)) if content[position:][:2] == b"\xff\xda"]
    for cut in cuts:
        if name != "gif" or cut > 1:  # the end of a GIF is one byte that says nothing
            assert refusal(content[:-cut])[0] == "undecodable"


def mutations(seed: int, count: int) -> Iterator[bytes]:
    draw = random.Random(seed)
    sources = [*PHOTOS.values(), GREY_16]
    heads = [content[:size] for content in sources for size in (4, 16, 40)]
    changes: list[Callable[[bytearray, int], bytearray]] = [
        lambda file, at: file[: at + 1],
        lambda file, at: file[:at] + bytes([draw.randrange(256)]) + file[at + 1 :],
        lambda file, at: file[: at % 200] + draw.choice((b"\0", b"\xff", b"\x80")) + file[at % 200 + 1 :],
        lambda file, at: bytearray(draw.choice(heads)) + file[draw.choice((4, 16, 40)) :],
        lambda file, at: file[:at] + file[at : at + draw.randrange(1, 300)] + file[at:],
        lambda file, at: file[:at] + file[at + draw.randrange(1, 50) :],
    ]
    for _ in range(count):
        file = bytearray(draw.choice(sources))
        for _ in range(draw.choice((1, 1, 2, 5, 20))):
            file = draw.choice(changes)(file, draw.randrange(len(file))) or bytearray(b"\xff")
        yield bytes(file)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_photos_are_read_in_one_way_or_refused(seed: int) -> None:
    num_read = 0
    for content in mutations(seed, 1_000):
        started = time.process_time()
        try:
            picture = Picture.read(content)
            image = picture.rgb()
        except PictureError as error:
            assert str(error) and error.reason in ("undecodable", "too_large", "aspect_ratio")
        else:
            num_read += 1
            assert image.size == (picture.width_px, picture.height_px)
            bundled = strip_metadata(content)
            assert bundled is not None and strip_metadata(bundled) == bundled
            assert_same(rgb(bundled), image)
        assert time.process_time() - started < 2
    assert 100 < num_read < 900


def test_the_error_comes_back_from_other_processes() -> None:
    error = pickle.loads(pickle.dumps(PictureError("too_large", "9 x 9 pixels")))
    assert (error.reason, str(error)) == ("too_large", "9 x 9 pixels")


def test_pictures_are_opened_in_one_place() -> None:
    """Nothing but the decoder does, but for the demo, which reads what it drew, and files that other programs run."""
    root = Path(__file__).resolve().parents[1]
    for path in [*(root / "src").rglob("*.py"), *(root / "flows").rglob("*.py")]:
        if not {"demo", "harness_files"} & {*path.parts}:
            text = path.read_text()
            assert "Image.open(" not in text and "MAX_IMAGE_PIXELS" not in text, path


def test_png_texts_of_exif_are_dropped() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n8\n4578696600000000\n", zip=True)
    content = encoded(scene(), "PNG", pnginfo=info)
    assert take_apart(content).orientation == 1
    assert b"profile" not in (strip_metadata(content) or b"profile")


def test_a_config_may_not_ask_for_photos_that_no_decoder_reads() -> None:
    assert CurateConfig(max_pixels=MAX_PIXELS, max_aspect_ratio=MAX_ASPECT_RATIO)
    for setting in ({"max_pixels": MAX_PIXELS + 1}, {"max_aspect_ratio": MAX_ASPECT_RATIO + 0.1}):
        with pytest.raises(ValidationError, match="less than or equal to"):
            CurateConfig(**setting)
