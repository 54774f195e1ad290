"""The demo's annotator names the light of a photo, a cue other than its background, as the photo was drawn."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from counterset.backgrounds import load_templates, load_vocabulary
from counterset.classes import load_classes
from counterset.demo.world.photo import draw
from counterset.demo.world.spec import BACKGROUNDS, usual_spec
from counterset.models.door import open_text_model
from counterset.stages.annotate import annotate_class, background_classifiers

PER_CLASS = 30


def test_names_of_light_are_those_that_were_drawn() -> None:
    encoder = open_text_model("demo:annotator")
    words, classes = load_vocabulary("demo_light"), load_classes("demo")
    directions = background_classifiers(encoder, words, classes, "combined", load_templates("demo_light"))
    right, lights = [], []
    for number, spec in enumerate(classes):
        seeds = range(5_000_000 + 1_000 * number, 5_000_000 + 1_000 * number + PER_CLASS)
        photos = [usual_spec(spec.class_id, BACKGROUNDS[seed % len(BACKGROUNDS)], seed) for seed in seeds]
        contents = []
        for photo in photos:
            file = io.BytesIO()
            Image.fromarray(draw(photo).pixels).save(file, "PNG")
            contents.append(file.getvalue())
        scores = encoder.encode_images(contents, 32) @ directions[spec.class_id].T
        named = [words[best].name for best in annotate_class(scores, len(words), "combined").best]
        lights += [photo.light for photo in photos]
        right += [name == photo.light for name, photo in zip(named, photos, strict=True)]
    by_light = {
        light: float(np.mean([one for one, of in zip(right, lights, strict=True) if of == light]))
        for light in sorted(set(lights))
    }
    assert np.mean(right) > 0.8 and min(by_light.values()) > 0.6, (np.mean(right), by_light)
