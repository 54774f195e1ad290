"""The check that needs no labels: names that follow places pass, names that follow animals do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from counterset.backgrounds import load_vocabulary
from counterset.classes import ClassSpec
from counterset.demo.world.classes import CLASS_NAMES, HABITS
from counterset.demo.world.photo import draw_photo
from counterset.demo.world.scenes import BACKGROUNDS
from counterset.models.open_clip_encoder import load_encoder
from counterset.stages.annotate import annotate_class, background_classifiers
from counterset.stages.annotate.information import (
    MIN_INFORMATION,
    NUM_NEIGHBOURS,
    Features,
    Information,
    edges,
    information,
)

NUM_PLACES, NUM_CLASSES = 4, 6


def world(num_photos: int, seen: float, seed: int = 0) -> tuple[Features, Features, np.ndarray]:
    """Profiles, looks and classes of photos whose places are usual for their class; `seen` = how much of its place a
    photo's profile shows."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, NUM_CLASSES, num_photos)
    usual = rng.dirichlet(np.ones(NUM_PLACES), NUM_CLASSES)
    places = np.array([rng.choice(NUM_PLACES, p=usual[number]) for number in classes])
    looks = rng.normal(size=(NUM_PLACES, 28))[places] + rng.normal(size=(num_photos, 28))
    animal = rng.normal(size=(NUM_CLASSES, NUM_PLACES))[classes]  # a steady pull of the animal
    profiles = seen * np.eye(NUM_PLACES)[places] + 2 * animal + 0.5 * rng.normal(size=(num_photos, NUM_PLACES))
    return np.asarray(profiles, np.float32), np.asarray(looks, np.float32), np.array([f"c{n}" for n in classes])


def found(num_photos: int, seen: float, seed: int = 0) -> Information:
    result = information(*world(num_photos, seen, seed), seed=0)
    assert result is not None
    return result


def test_names_that_follow_places_pass_and_those_that_follow_animals_do_not() -> None:
    assert not found(500, 1.0).is_empty and found(500, 1.0).value > 3 * MIN_INFORMATION
    values = [found(500, 0.0, seed) for seed in range(20)]
    assert sum(each.is_empty for each in values) >= 19
    assert abs(np.mean([each.value for each in values])) < 0.01  # what is usual for a class is no information


def test_a_few_photos_are_no_reason_to_call_names_empty() -> None:
    assert not any(found(70, 1.0, seed).is_empty for seed in range(20))
    assert sum(found(70, 0.0, seed).is_empty for seed in range(20)) <= 10  # and there is little to tell by
    profiles, looks, classes = world(40, 1.0)
    assert information(profiles, looks, classes, seed=0) is None
    profiles, looks, classes = world(100, 1.0)
    assert information(profiles, looks, np.full(100, "one"), seed=0) is None


def test_it_is_what_the_docstring_says() -> None:
    """Against loops: neighbours of other classes by ranks, profiles less their class's mean, mean cosine."""
    profiles, looks, classes = world(80, 0.7, seed=3)
    ranks = np.array([[(looks[:, column] < value).sum() for column, value in enumerate(row)] for row in looks])
    own = []
    for profile, name in zip(profiles, classes, strict=True):
        shape = profile - profile.mean()
        alike = [other - other.mean() for other, label in zip(profiles, classes, strict=True) if label == name]
        left = shape - np.mean(alike, axis=0)
        own.append(left / np.linalg.norm(left))
    cosines = []
    for row, name in enumerate(classes):
        others = [n for n in range(80) if classes[n] != name]
        near = sorted(others, key=lambda n: float(((ranks[n] - ranks[row]) ** 2).sum()))[:NUM_NEIGHBOURS]
        cosines += [float(own[row] @ own[other]) for other in near]
    result = information(profiles, looks, classes, seed=0)
    assert result is not None
    assert abs(result.value - np.mean(cosines)) < 4 * result.error / 199**0.5 + 0.02  # less what deals give, about 0
    order = np.random.default_rng(0).permutation(80)
    shuffled = information(profiles[order], looks[order], classes[order], seed=1)
    assert shuffled is not None and abs(shuffled.value - result.value) < 0.01


def test_edges_see_the_edges_alone() -> None:
    grey = Image.new("RGB", (300, 200), (90, 140, 60))
    with_animal = grey.copy()
    with_animal.paste((200, 30, 30), (80, 60, 220, 140))
    np.testing.assert_allclose(edges(grey), edges(with_animal), atol=0.01)
    blue_top = grey.copy()
    blue_top.paste((60, 90, 200), (0, 0, 300, 30))
    assert np.abs(edges(grey) - edges(blue_top)).max() > 0.2
    assert edges(grey).shape == (28,)


def test_the_demos_annotator_passes() -> None:
    rng = np.random.default_rng(0)
    drawn = [(name, BACKGROUNDS[rng.choice(6, p=HABITS[name])], seed) for seed in range(24) for name in CLASS_NAMES]
    pictures = [draw_photo(*each) for each in drawn]
    files = [_png(picture) for picture in pictures]
    encoder = load_encoder("demo:annotator")
    vectors = encoder.encode_images(files, 64)
    _check(
        encoder, vectors, np.array([name for name, _, _ in drawn]), pictures, dict(CLASS_NAMES), "demo", is_empty=False
    )


def test_a_stand_in_that_sees_only_animals_does_not_pass(shared: Path, real_models: Path) -> None:
    """The other one does, in `tests/flows/test_real_photos.py`."""
    folders = sorted((shared / "photos").iterdir())[2::5]  # a class costs as many texts as prompts and backgrounds
    paths = [path for folder in folders for path in sorted(folder.glob("*.jpg"))[::4]]
    encoder = load_encoder(f"local-dir:{real_models / 'conse'}")
    vectors = encoder.encode_images([path.read_bytes() for path in paths], 32)
    pictures = [Image.open(path).convert("RGB") for path in paths]
    names = {path.parent.name: path.parent.name for path in paths}
    classes = np.array([path.parent.name for path in paths])
    _check(encoder, vectors, classes, pictures, names, "counteranimal", is_empty=True)


def _check(encoder, vectors, classes, pictures, names, vocabulary, is_empty) -> None:  # type: ignore[no-untyped-def]
    words = load_vocabulary(vocabulary)
    specs = [ClassSpec(class_id, name) for class_id, name in names.items()]
    directions = background_classifiers(encoder, words, specs, "combined")
    profiles = np.zeros((len(classes), len(words)), np.float32)
    for class_id in names:
        rows = classes == class_id
        profiles[rows] = annotate_class(vectors[rows] @ directions[class_id].T, len(words), "combined").profiles
    result = information(profiles, np.stack([edges(picture) for picture in pictures]), classes, seed=0)
    assert result is not None and result.is_empty == is_empty, result


def _png(picture: Image.Image) -> bytes:
    import io

    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
