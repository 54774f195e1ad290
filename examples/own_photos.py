"""Build a benchmark from a folder of photos, one folder per class: photos/red_fox/..., photos/arctic_fox/...

    python own_photos.py photos --output foxes

Stop it at any moment and call it again: it goes on where it was. Some hundred photos per class are needed to confirm a
drop of 20 points.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import counterset

CONFIG = """\
name = "own-photos"
workspace = "workspace"
releases = "releases"

[classes]
list = "classes.csv"

[source]
kind = "folder"
path = '{photos}'
photos_per_class = 5000

[models]
annotator = '{annotator}'    # names the backgrounds
selectors = ['{selector}']   # its accuracies choose the pairs

[annotate]
vocabulary = "{vocabulary}"

[evaluate]
label_space = "classes"      # the labels are the names of your classes
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path, help="a folder with one folder of photos per class")
    parser.add_argument("--output", type=Path, default=Path("own-photos"), help="where to build")
    parser.add_argument("--annotator", default="ViT-B-32/openai", help="the model that names the backgrounds")
    parser.add_argument("--selector", default="ViT-B-32/laion400m_e31", help="the model that is measured")
    parser.add_argument("--vocabulary", default="counteranimal", help="the backgrounds that can be named")
    args = parser.parse_args()

    # The class list: an id and a name per class. The name is what the model is asked for.
    args.output.mkdir(parents=True, exist_ok=True)
    folders = sorted(folder.name for folder in args.photos.iterdir() if folder.is_dir())
    with (args.output / "classes.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["class_id", "name"])
        rows.writerows([name, name.replace("_", " ")] for name in folders)

    config = args.output / "build.toml"
    config.write_text(
        CONFIG.format(
            photos=args.photos.resolve(),
            annotator=args.annotator,
            selector=args.selector,
            vocabulary=args.vocabulary,
        ),
        encoding="utf-8",
    )

    built = counterset.build(config)
    for pair in counterset.load(built.release).pairs.to_pylist():
        drop = "" if pair["drop"] is None else f", {pair['common']} to {pair['counter']}: {pair['drop']:.1%}"
        print(f"{pair['class_id']}: {pair['verdict']}{drop}")
    print(f"open {built.release / 'report.html'}")


if __name__ == "__main__":
    main()
