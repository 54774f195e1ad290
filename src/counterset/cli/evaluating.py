"""Commands that measure models: evaluate, plot, models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from counterset.cli.flows import import_models, model_bars
from counterset.cli.printing import percent, print_table
from counterset.errors import UserError
from counterset.models.kinds import KINDS
from counterset.outputs import check_output

MODEL_HELP = """\
models:
KINDS
A folder is an open_clip model; installed packages may add kinds. `counterset models` lists the paper's models.
Anything else is a Python callable: counterset.evaluate(release, predict=..., name=...).
An endpoint's key, if it wants one, is read from COUNTERSET_API_KEY.

label spaces:
  imagenet1k                   1 vs. 1000
  top20                        1 vs. 20: each class's 20 labels nearest to its photos under the selector
  classes                      the release's own classes
  FILE                         names, one per line; top20:FILE takes the nearest 20 of them

A model's vectors of photos are kept in OUTPUT/vectors: run again to resume, or with other labels,
prompts or a later version of the release, and only what is missing is computed. Answers of
endpoints are kept in OUTPUT/answers as they come, and no question is asked twice.
"""


def add(commands: Any) -> None:
    """The commands that measure models."""
    kinds = "\n".join(f"  {KINDS.summary(kind).replace('`', '')}" for kind in KINDS.own)
    evaluate = commands.add_parser(
        "evaluate",
        help="any models' accuracy and drop on a release; run again to resume",
        epilog=MODEL_HELP.replace("KINDS", kinds),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.add_argument("release", help="folder, name, or URL of a release")
    evaluate.add_argument(
        "--model", action="append", required=True, metavar="NAME", help="a model; repeat for more (see below)"
    )
    evaluate.add_argument("--scale", default="logit", choices=["linear", "logit", "probit"], help="axes of the lines")
    evaluate.add_argument(
        "--price", metavar="IN,OUT", help="of a million tokens of questions and answers at an endpoint, e.g. 0.15,0.6"
    )
    add_candidates(evaluate)
    add_options(evaluate)
    evaluate.set_defaults(run=_evaluate)

    plot = commands.add_parser("plot", help="counter against common accuracy, as SVG, PNG and an interactive page")
    plot.add_argument("evaluation", type=Path, help="the folder that `counterset evaluate` printed")
    plot.add_argument("--scale", choices=["linear", "logit", "probit"], help="of both axes (default: the evaluation's)")
    plot.add_argument("--published", action="store_true", help="the paper's 43 models as background points")
    plot.add_argument("--output", type=Path, help="folder to write into (default: the evaluation's)")
    plot.set_defaults(run=_plot)

    results = commands.add_parser("results", help="an evaluation's figures as files for models' pages on the hub")
    results.add_argument("evaluation", type=Path, help="the folder that `counterset evaluate` printed")
    results.add_argument("dataset", help="the benchmark on the hub, USER/NAME, from `export RELEASE hub_eval`")
    results.add_argument("--output", type=Path, help="folder to write into (default: the evaluation's)")
    results.set_defaults(run=_results)

    models = commands.add_parser("models", help="the paper's models: names, lineage, size, and whether cached")
    models.add_argument("--family", choices=["CLIP", "ImageNet"], help="only these")
    models.add_argument("--cached", action="store_true", help="only those whose weights are on this machine")
    models.set_defaults(run=_models)


def add_candidates(command: argparse.ArgumentParser) -> None:
    """What decides the labels that models choose among, and how they are asked."""
    command.add_argument("--label-space", default="", help="candidate labels (default: as the release was built)")
    command.add_argument(
        "--selector", default="", help="the model whose nearest labels top20 takes (default: the release's)"
    )
    command.add_argument("--shard-size", type=int, default=512, help="photos per file that is kept")
    command.add_argument("--parallel", type=int, default=8, help="questions under way at once at an endpoint")


def add_places(command: argparse.ArgumentParser) -> None:
    """Where a release's photos may come from."""
    command.add_argument(
        "--mirror",
        action="append",
        default=[],
        help="where photos are looked for before their own URLs; may be repeated",
    )
    command.add_argument(
        "--accept-changed",
        action="store_true",
        help="also take photos whose bytes have changed, where their perceptual hash says that the picture has not",
    )


def add_options(command: argparse.ArgumentParser) -> None:
    """What every command that shows a release's photos to models takes."""
    command.add_argument("--templates", default="paper", help="paper, openai80, or a file of templates with {label}")
    command.add_argument(
        "--half",
        choices=["confirm", "discover", "all"],
        help="whose photos count (default: confirm, if there is one)",
    )
    command.add_argument("--verdict", action="append", help="take classes with this verdict (default: all tested)")
    add_places(command)
    command.add_argument("--batch-size", type=int, default=64, help="pictures in one forward pass")
    command.add_argument("--output", type=Path, default=Path("evaluations"), help="default: ./evaluations")


def _evaluate(args: argparse.Namespace) -> int:
    price = _price(args.price) if args.price else None
    import_models()
    from counterset.evaluation.evaluate import evaluate
    from counterset.evaluation.photos import TESTED
    from counterset.load import load

    release = load(
        args.release, verdicts=args.verdict or TESTED, mirrors=args.mirror, accept_changed=args.accept_changed
    )
    with model_bars() as say:
        evaluation = evaluate(
            release,
            args.model,
            label_space=args.label_space,
            templates=args.templates,
            half=args.half or "",
            scale=args.scale,
            output=args.output,
            selector=args.selector,
            batch_size=args.batch_size,
            shard_size=args.shard_size,
            parallel=args.parallel,
            price=price,
            progress=say,
        )
    _show(evaluation)
    return 0


def _price(text: str) -> tuple[float, float]:
    try:
        tokens_in, tokens_out = map(float, text.split(","))
    except ValueError:
        raise UserError(f"--price {text!r} is not two numbers; write it as 0.15,0.6") from None
    return tokens_in, tokens_out


def _show(evaluation: Any) -> None:
    rows = sorted(evaluation.metrics.to_pylist(), key=lambda row: (row["drop"], row["model"]))
    record = evaluation.record
    print_table(
        f"{record['release']['name']} {record['release']['version']}: {record['label_space']} "
        f"({record['num_labels']} labels), prompts {record['templates']}, {rows[0]['num_classes']} classes, "
        f"{rows[0]['num_photos']} photos of the half {record['half']!r}",
        [_row(row) for row in rows],
    )
    for row in rows:
        if row["is_in_sample"]:
            print(f"* {row['model']} {row['in_sample_reason']}, so its figures are in-sample")
        if row["num_unknown"]:
            print(f"{row['model']} gave {row['num_unknown']} answers that name no candidate; they count as wrong")
        if asked := record["models"][row["model"]].get("asked"):
            print(_asked(row["model"], asked))
            if asked.get("tokens_photo") == 0:
                print(
                    f"{row['model']} counted no tokens for the photos that it was sent: its server may drop them, and "
                    "these answers may be guesses; check that it serves a model that takes photos"
                )
    if record["missing_photos"]:
        print(f"{len(record['missing_photos'])} photos could not be fetched and are left out; see evaluation.json")
    for row in rows:
        if row["num_vanished"]:
            print(
                f"{row['model']}: with the {row['num_vanished']} photos of this half that vanished its drop would be "
                f"between {percent(row['drop_lowest'])} and {percent(row['drop_highest'])} points, whatever they show"
            )
    if record["one_sided_classes"]:
        print(f"left out, because they have no photos on one side: {', '.join(record['one_sided_classes'])}")
    if rows[0]["line"]:
        print(f"beyond line: counter accuracy beyond the line of the {rows[0]['line']} models, {rows[0]['scale']} axes")
    print("computed in this run: " + ", ".join(f"{model} {n} photos" for model, n in evaluation.num_computed.items()))
    print(f"\nevaluation  {evaluation.folder}")


def _asked(model: str, asked: dict[str, Any]) -> str:
    told = ((asked["tokens_in"], "in"), (asked["tokens_out"], "out"))
    tokens = ", ".join(f"{number:,} {way}" for number, way in told if number is not None) or "not told"
    counts = (
        f"{asked['num_refused']} refusals",
        f"{asked['num_cut']} answers cut off",
        f"{asked['num_turned_away']} photos not taken",
    )
    served = ", ".join(asked["served"]) or "an unnamed model"
    cost = asked.get("cost")
    if cost is not None:
        tokens += f", which cost {cost:.3g}"
    elif asked.get("price"):
        tokens += ", of unknown cost, for some answers did not tell theirs"
    return f"{model}: {', '.join(counts)}; tokens of all questions: {tokens}; answered by {served}"


def _row(row: dict[str, Any]) -> dict[str, str]:
    from counterset.evaluation.metric import interval as between
    from counterset.evaluation.metrics import METRICS

    shown = {"model": row["model"] + ("*" if row["is_in_sample"] else "")}
    for metric in METRICS.values():
        shown |= metric.shown(row)
    if row["line"]:
        shown["beyond line %"] = f"{percent(row['residual'])} ({between(row, 'residual')})"
    return shown


def _models(args: argparse.Namespace) -> int:
    from counterset.models.registry import load_registry

    models = [model for model in load_registry() if args.family in (None, model.family)]
    cached = {model.name: model.cached for model in models}
    rows = [
        {
            "model": model.name,
            "family": model.family,
            "in the paper": f"{model.backbone} {model.pretrain_dataset}",
            "trained on": ", ".join(sorted(model.trained_on)),
            "M parameters": f"{model.parameters / 1e6:.1f}",
            "GB, float32": f"{model.size_bytes / 1e9:.2f}",
            "cached": "yes" if cached[model.name] else "",
        }
        for model in models
        if cached[model.name] or not args.cached
    ]
    print_table("the models of arXiv 2403.11497", rows)
    for model in models:
        if model.note:
            print(f"{model.name}: {model.note}")
    print(f"{sum(path is not None for path in cached.values())} of {len(models)} are on this machine")
    return 0


def _plot(args: argparse.Namespace) -> int:
    from counterset.evaluation.plot import write_plots
    from counterset.evaluation.points import read_figure
    from counterset.statistics.robustness import Scale

    if args.output:
        check_output(args.output)
    figure = read_figure(args.evaluation, Scale(args.scale) if args.scale else None, with_published=args.published)
    for path in write_plots(figure, args.output or args.evaluation):
        print(path)
    for note in figure.notes:
        print(note)
    return 0


def _results(args: argparse.Namespace) -> int:
    from counterset.evaluation.hub_results import write_results

    for path in write_results(args.evaluation, args.dataset, args.output or args.evaluation):
        print(path)
    return 0
