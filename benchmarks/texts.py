"""Texts a second of the text path, beside a plain open_clip loop in float32, and how often a text is encoded.

    OMP_NUM_THREADS=1 python benchmarks/texts.py [--labels 1000] [--rounds 4]

ViT-B/32 of random weights. OpenAI's 80 prompts for ImageNet's labels are encoded as a build does, which keeps each
text, in as many parts as there are rounds. After each part the plain loop encodes 160 of its prompts, tokens included,
so that a busy machine is busy for both. Then the rows of all labels are asked for again, from what is kept, and those
of a label space that shares most of its labels. Seconds are of the processor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from floors import add_floors, hold

NUM_PLAIN = 160


def make_model(folder: Path) -> None:
    """A ViT-B/32 of random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32", load_weights=False)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    config = {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


class Counting:
    """A model that counts what it encodes."""

    def __init__(self, model: Any) -> None:
        self._model, self.num_encoded = model, 0

    def encode_texts(self, texts: Sequence[str]) -> Any:
        self.num_encoded += len(texts)
        return self._model.encode_texts(texts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=4)
    add_floors(parser)
    options = parser.parse_args()
    import numpy as np
    import open_clip
    import torch
    from open_clip import IMAGENET_CLASSNAMES

    from counterset.models.door import open_text_model
    from counterset.models.kept_texts import KeptTexts
    from counterset.models.prompts import mean_text_features, prompts

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder)
        plain = open_clip.create_model(f"local-dir:{folder}").eval()
        tokenizer = open_clip.get_tokenizer("ViT-B-32")
        model = Counting(open_text_model(f"local-dir:{folder}"))
        model.encode_texts(["a photo"])
        kept = KeptTexts(model, folder / "kept")
        sets = [prompts("openai80", label) for label in IMAGENET_CLASSNAMES[: options.labels]]
        rates: dict[str, list[float]] = {"counterset": [], "plain": []}
        cosine = 1.0
        parts = np.array_split(np.arange(len(sets)), options.rounds)
        for part in parts:
            own = [sets[number] for number in part]
            worked = time.process_time()
            mean_text_features(kept, own)
            rates["counterset"].append(sum(map(len, own)) / (time.process_time() - worked))
            some = [text for texts in own for text in texts][:: max(80 * len(own) // NUM_PLAIN, 1)][:NUM_PLAIN]
            worked = time.process_time()
            with torch.inference_mode():
                theirs = plain.encode_text(tokenizer(some), normalize=True).numpy()
            rates["plain"].append(len(some) / (time.process_time() - worked))
            cosine = min(cosine, float(np.sum(kept.encode_texts(some) * theirs, axis=1).min()))
        for way, values in rates.items():
            print(f"{way}: {statistics.median(values):.1f} texts per second ({min(values):.1f} to {max(values):.1f})")
        print(f"in {model.encoder.texts.precision}, least cosine {cosine:.5f}")
        first, worked = model.num_encoded, time.process_time()
        mean_text_features(kept, sets)
        again = model.num_encoded - first
        different = len({text for texts in sets for text in texts})
        print(
            f"{80 * len(sets)} prompts, {different} different: {first - 1} encoded; asked for again: "
            f"{again} encoded in {time.process_time() - worked:.2f} s"
        )
        others = [*sets[::2], *([f"{text} Really." for text in texts] for texts in sets[1:41:2])]
        mean_text_features(kept, others)
        new = model.num_encoded - first - again
        print(f"{len(others)} labels of which {len(sets[::2])} were known: {new} encoded")
        sizes = [path.stat().st_size for path in (folder / "kept").iterdir()]
        print(f"kept: {sum(sizes) / 1e6:.0f} MB in {len(sizes)} files")
    ratio = statistics.median(ours / theirs for ours, theirs in zip(*rates.values(), strict=True))
    print(f"{ratio:.1f} times the plain loop")
    figures = {"of_plain_loop": ratio, "cosine": cosine, "encoded_twice": first - 1 - different + again}
    hold(options.floors, figures | {"new": new})


if __name__ == "__main__":
    main()
