"""The command that changes one thing in a release's photos and shows models the result: intervene."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from counterset.cli.causes import print_mean
from counterset.cli.evaluating import add_options
from counterset.cli.flows import import_models, model_bars
from counterset.cli.printing import interval, percent, print_table

INTERVENE_HELP = """\
what models see:
  unchanged                the photo, at the size of the others
  animal_alone             the animal before grey
  background_alone         the photo with the animal filled over
  own_background           the animal before the place of another photo of its group: what pasting alone does
  common_background        the animals of both groups before common backgrounds; less counter_background: the effect
  same_class_background    before any background of the class; less other_class_background: ImageNet-9's gap
  smaller, moved           as own_background, at half the size, or at the other side of the frame

Composites are made in memory. None is published, and none is kept, but for the examples of --save.
"""


def add(commands: Any) -> None:
    """The command `intervene`."""
    intervene = commands.add_parser(
        "intervene",
        help="what models answer once animals stand before other backgrounds; run again to resume",
        epilog=INTERVENE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    intervene.add_argument("release", help="folder, name, or URL of a release")
    animals = intervene.add_mutually_exclusive_group(required=True)
    animals.add_argument(
        "--masks",
        metavar="PATH",
        help="a folder of masks, PHOTO_ID.png, white where the animal is; or a CSV of photo_id and mask",
    )
    animals.add_argument(
        "--boxes",
        metavar="FILE",
        help="CSV of photo_id, x, y, width and height as fractions, or MegaDetector's JSON; a box takes along what is "
        "around the animal",
    )
    intervene.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="NAME",
        help="a model, as `evaluate` takes it; repeat for more",
    )
    intervene.add_argument("--label-space", default="", help="imagenet1k, classes or a file (default: as it was built)")
    intervene.add_argument(
        "--save", type=int, default=0, metavar="N", help="write the composites of N photos, to look at"
    )
    add_options(intervene)
    intervene.set_defaults(run=_intervene)


def _intervene(args: argparse.Namespace) -> int:
    import_models()
    from counterset.evaluation.intervene import intervene
    from counterset.evaluation.photos import TESTED
    from counterset.load import load

    release = load(
        args.release, verdicts=args.verdict or TESTED, mirrors=args.mirror, accept_changed=args.accept_changed
    )
    with model_bars() as say:
        done = intervene(
            release,
            args.model,
            animals=args.masks or args.boxes,
            label_space=args.label_space,
            templates=args.templates,
            half=args.half or "",
            output=args.output,
            save=args.save,
            batch_size=args.batch_size,
            progress=say,
        )
    _show(done)
    return 0


def _show(done: Any) -> None:
    record = done.record
    effects = [row for row in done.interventions.to_pylist() if row["intervention"] == "common_background"]
    print_table("the same animals on common rather than on counter backgrounds", [_effect(row) for row in effects])
    print_table(
        f"{record['release']['name']} {record['release']['version']}: all interventions, means over "
        f"{len({row['class_id'] for row in effects})} classes, {record['num_photos']} photos of the half "
        f"{record['half']!r}",
        [_mean(row) for row in done.by_model.to_pylist()],
    )
    if done.decomposition is None:
        print("which part of the drops this is shows once all of the release's selectors see the composites (--model)")
    else:
        print_mean(done.decomposition.to_pylist())
        print(
            "background: what an exchange of backgrounds does to the selectors' answers; unexplained: the rest, light "
            "and sharpness among it, in which the background's look may be"
        )
    if record["left_out"]:
        reasons = Counter(reason.partition(";")[0] for reason in record["left_out"].values())
        commonest = ", ".join(f"{number} because {reason}" for reason, number in reasons.most_common(3))
        print(f"{len(record['left_out'])} photos are left out: {commonest}; see interventions.json for each")
    if record["animals"] == "boxes":
        print(
            "animals were cut out as boxes, which take along what is around them: effects are smaller than with masks"
        )
    print("computed in this run: " + ", ".join(f"{model} {n} composites" for model, n in done.num_computed.items()))
    print(f"\ninterventions  {done.folder}")


def _effect(row: dict[str, Any]) -> dict[str, str]:
    return {
        "class": row["class_id"],
        "model": row["model"],
        "photos": str(row["num_photos"]),
        "on common %": percent(row["accuracy"]),
        "on counter %": percent(row["accuracy"] - row["effect"]),
        "effect points": percent(row["effect"]),
        "95 % interval": interval(row, "effect"),
    }


def _mean(row: dict[str, Any]) -> dict[str, str]:
    return {
        "model": row["model"],
        "intervention": row["intervention"],
        "accuracy %": percent(row["accuracy"]),
        "less": row["compared_with"] or "",
        "effect points": percent(row["effect"]),
        "95 % interval": interval(row, "effect"),
    }
