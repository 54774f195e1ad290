"""Commands before a build: init, validate, plan, classes init."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterset.cli.flows import import_models
from counterset.cli.printing import percent, print_table
from counterset.errors import UserError
from counterset.outputs import check_output

if TYPE_CHECKING:
    from counterset.config import Config
    from counterset.sources.inaturalist.drafts import Draft
    from counterset.sources.inaturalist.settings import INaturalistConfig
    from counterset.statistics.plan import Assumptions, ClassPlan
    from counterset.steps.costs import Costs
    from counterset.steps.start_files import Start

API_URL = "https://api.inaturalist.org/v1"

MOST_MONTHS = 60
"""Five years: a plan looks no further ahead."""
UNKNOWN_FREQUENCIES = (0.4, 0.25, 0.15, 0.1, 0.1)
"""Shares of a class's groups that a plan assumes when no earlier build tells them."""

INIT_HELP = """\
write a config, a class list and a vocabulary of backgrounds; check them, then build:
  counterset init photos                                  one folder of photos per class: photos/red_fox/1.jpg
  counterset init photos.csv                              a list of addresses, with the columns url and class
  counterset init "red fox" "Arctic fox" --contact you@example.org     photos of iNaturalist, by common names
"""


def add(commands: Any) -> None:
    """The commands that come before a build."""
    init = commands.add_parser(
        "init",
        help="write a config, class list and vocabulary from a folder of photos, a list of addresses, or names",
        description=INIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    init.add_argument("source", nargs="+", metavar="FOLDER|LIST|NAME", help="one folder, one list, or common names")
    init.add_argument("--name", help="name of the build (default: that of the folder, list or first class)")
    init.add_argument("--output", type=Path, help="folder to write the three files into (default: ./NAME)")
    init.add_argument("--annotator", help="the model that names backgrounds (default: ViT-B-32/openai)")
    init.add_argument("--selector", help="the model whose accuracy chooses the pairs (default: ViT-B-32/laion400m_e31)")
    init.add_argument("--vocabulary", help="the backgrounds to start with: a packaged name or a CSV file")
    _api_arguments(init)
    init.set_defaults(run=_init)

    validate = commands.add_parser(
        "validate", help="check a config, the folders it names, its classes, source and models; writes nothing"
    )
    validate.add_argument("config", type=Path, help="a TOML file")
    validate.set_defaults(run=_validate)

    plan = commands.add_parser("plan", help="estimate what a build will cost, and which drops it can confirm")
    plan.add_argument("config", type=Path, help="a TOML file")
    plan.add_argument("--drop", type=float, default=0.2, help="the true drop to confirm, as a fraction (default: 0.2)")
    plan.add_argument("--learn-from", help="an earlier release: its group frequencies and observer correlation")
    plan.add_argument(
        "--look",
        type=int,
        help="which look of its series the build will be, for later ones confirm less easily (default: 1, or the one "
        "after the release that is learnt from)",
    )
    plan.add_argument(
        "--months", type=int, help="also the chance that such a drop is confirmed by each monthly look, up to so many"
    )
    plan.add_argument(
        "--growth",
        type=float,
        default=0.1,
        help="with --months: photos that a month brings, as a share of those of the first look (default: 0.1)",
    )
    plan.add_argument("--ask", action="store_true", help="ask the source how much it has, about one request per class")
    plan.add_argument("--gpu-tflops", type=float, help="peak of a GPU in half precision, from its data sheet, e.g. 312")
    plan.add_argument("--price-per-hour", type=float, help="of a rented machine, in any currency")
    plan.set_defaults(run=_plan)

    classes = commands.add_parser("classes", help="draft a class list").add_subparsers(metavar="init", required=True)
    drafted = classes.add_parser("init", help="draft a class list from common names, by taxon search")
    drafted.add_argument("names", nargs="+", metavar="NAME", help='common names, e.g. "red fox"')
    _api_arguments(drafted)
    drafted.add_argument("--output", type=Path, default=Path("classes.csv"), help="default: ./classes.csv")
    drafted.set_defaults(run=_classes_init)


def _api_arguments(parser: Any) -> None:
    parser.add_argument("--contact", default="", help="your web page or e-mail, sent to iNaturalist in the User-Agent")
    parser.add_argument("--api-url", default=API_URL, help="address of the API (default: iNaturalist's)")


def _init(args: argparse.Namespace) -> int:
    from counterset.steps.start_files import Models, name_of, write_start

    start, called = _start(args)
    name = name_of(args.name or called)
    folder = args.output or Path(name)
    given = {key: getattr(args, key) for key in ("annotator", "selector", "vocabulary")}
    models = Models(**{key: value for key, value in given.items() if value})
    from open_clip import IMAGENET_CLASSNAMES

    paths = write_start(start, folder, name, models, IMAGENET_CLASSNAMES)
    if start.photos:
        print_table("photos by class", [{"class": name, "photos": f"{n:,}"} for name, n in start.photos.items()])
    for note in start.notes:
        print(f"note: {note}")
    for path, what in zip(paths, ("the config", "the classes", "the backgrounds"), strict=True):
        print(f"wrote {path}: {what}")
    print(
        f"look at them, then:\n  counterset validate {paths[0]}\n  counterset plan {paths[0]}\n"
        f"  counterset build {paths[0]}"
    )
    return 0


def _start(args: argparse.Namespace) -> tuple[Start, str]:
    """What a build starts from, and what it may be called."""
    from counterset.sources.lists import ListFile
    from counterset.steps.start_files import Start, from_folder, from_list

    first = Path(args.source[0])
    if first.is_dir() or first.is_file():
        if len(args.source) > 1:
            raise UserError(f"{first} and more were given; give one folder, one list of addresses, or names only")
        if first.is_dir():
            return from_folder(first), first.resolve().name
        if not ListFile.takes(str(first)):
            raise UserError(f"{first} is no list of addresses; give a file that ends in {', '.join(ListFile.SUFFIXES)}")
        return from_list(first), first.name.partition(".")[0]
    if "/" in args.source[0] or first.suffix in ListFile.SUFFIXES:
        raise UserError(f"{first} is not there; give a folder of photos, a list of addresses, or common names")
    config = _api_config(args)
    with tempfile.TemporaryDirectory() as state:
        drafts = _drafts(args.source, config, Path(state))
    source = {
        "kind": "inaturalist",
        "contact": args.contact,
        "api_url": "" if args.api_url == API_URL else args.api_url,
    }
    notes = tuple(f"{draft.spec.class_id}: {draft.note}" for draft in drafts if draft.note)
    return Start(source, tuple(draft.spec for draft in drafts), notes=notes), args.source[0]


def _validate(args: argparse.Namespace) -> int:
    from counterset.config import load_config

    config = load_config(args.config)
    import_models()
    from counterset.steps.before_build import check_places, foresee
    from counterset.steps.keys import Build

    check_places(config)
    with tempfile.TemporaryDirectory() as nowhere:  # what is only looked at leaves nothing behind
        build = Build(config.model_copy(update={"workspace": f"{nowhere}/workspace"}))
        offered = foresee(build)
        build.check_models()
    print(
        f"{args.config} is valid: {len(build.specs)} classes, {len(build.vocabulary)} backgrounds, "
        f"{len(build.space.labels)} labels, models {', '.join(build.model_names)}"
    )
    if offered.photos:
        counts = [{"class": name, "photos": f"{count:,}"} for name, count in offered.photos.items()]
        print_table("photos that the source offers", counts)
    for note in offered.notes:
        print(f"note: {note}")
    return 0


def _plan(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from counterset.config import load_config
    from counterset.load import load
    from counterset.review.sample import labels_per_class
    from counterset.statistics.naming import photos_to_label
    from counterset.statistics.plan import Assumptions, learn, plan_classes

    config = load_config(args.config)
    if not 0 < args.drop <= 1:
        raise UserError(f"--drop {args.drop} is no drop; give a fraction above 0 and up to 1, e.g. 0.2 for 20 points")
    if args.look is not None and args.look < 1:
        raise UserError(f"--look {args.look} is no look; the first one of a series is 1")
    if args.months is not None and not 1 <= args.months <= MOST_MONTHS:
        raise UserError(f"--months {args.months} is out of range; give 1 to {MOST_MONTHS}")
    if not 0 <= args.growth <= 100:
        raise UserError(f"--growth {args.growth} is out of range; give a share of the first photos, e.g. 0.1")
    for option in ("gpu_tflops", "price_per_hour"):
        value = getattr(args, option)
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"--{option.replace('_', '-')} {value} is out of range; give a number above 0")
    import_models()
    from counterset.steps.costs import costs_of
    from counterset.steps.keys import Build

    with tempfile.TemporaryDirectory() as nowhere:  # a plan leaves nothing behind
        build = Build(_without_traces(config, nowhere, is_asked=args.ask))
        offered = build.source.ask(build.specs) if args.ask else build.source.foresee(build.specs)
        costs = costs_of(build, offered, gpu_tflops=args.gpu_tflops)
    class_ids = [spec.class_id for spec in build.specs]
    num_selectors = len(config.models.selectors)
    if args.learn_from:
        release = load(args.learn_from)
        known = learn(release.groups, release.pairs, max_q_value=config.select.max_q_value, num_selectors=num_selectors)
        frequencies, assumptions = known
        frequencies = {class_id: frequencies[class_id] for class_id in class_ids if class_id in frequencies}
    else:
        frequencies = {class_id: list(UNKNOWN_FREQUENCIES) for class_id in class_ids}
        assumptions = Assumptions(
            num_classes=len(class_ids), max_q_value=config.select.max_q_value, num_selectors=num_selectors
        )
    assumptions = replace(assumptions, look=args.look or assumptions.look)
    wanted, per_group = config.source.photos_per_class, photos_to_label(config.naming.half_width)
    rows, num_labels = [], 0
    known_classes: list[tuple[tuple[float, ...], int]] = []
    for class_id, shares in frequencies.items():
        photos = min(offered.photos.get(class_id, wanted), wanted)
        [plan] = plan_classes({class_id: shares}, photos, args.drop, config.select.min_photos, assumptions)
        rows.append(_planned(plan, photos, offered.photos.get(class_id)))
        num_labels += labels_per_class(shares, per_group, photos)
        known_classes.append((tuple(shares), photos))
    print_table(
        f"the drops that this config confirms, and what a drop of {100 * args.drop:g} points needs", _merged(rows)
    )
    basis = args.learn_from or f"groups of {', '.join(f'{share:.0%}' for share in UNKNOWN_FREQUENCIES)} of each class"
    print(
        f"from {basis}; observer correlation {assumptions.observer_correlation:.2f}, "
        f"{assumptions.photos_per_observer:.1f} photos per observer and group, "
        f"number of selectors {num_selectors}, look {assumptions.look} of its series; such a drop is confirmed with a "
        f"probability of {assumptions.power:.0%}"
    )
    if args.months:
        _print_months(known_classes, config.select.min_photos, assumptions, args)
    _print_costs(costs, config.source.kind, args.price_per_hour)
    print(
        f"names audited to {100 * config.naming.half_width:g} points to either side: {num_labels:,} photos to be "
        f"labelled blindly, {per_group} of each group (`counterset review WORKSPACE --audit`)"
    )
    for note in offered.notes:
        print(f"note: {note}")
    return 0


def _print_months(
    classes: list[tuple[tuple[float, ...], int]], min_photos: int, assumptions: Assumptions, args: argparse.Namespace
) -> None:
    """The chance that the wanted drop of a class is confirmed by each look, over all classes."""
    from counterset.statistics.plan import chances_by_look

    total, weights = [0.0] * args.months, Counter(classes)
    for (shares, photos), number in weights.items():
        chances = chances_by_look(
            shares, photos, args.drop, min_photos, assumptions, growth=args.growth, num_looks=args.months
        )
        total = [before + number * chance for before, chance in zip(total, chances, strict=True)]
    rows = [
        {
            "look": str(assumptions.look + number),
            "photos": f"{sum(photos for _, photos in classes) * (1 + args.growth * number):,.0f}",
            "confirmed by then": f"{chance / len(classes):.0%}",
        }
        for number, chance in enumerate(total)
    ]
    print_table("month by month", rows)
    print(
        f"a look every month, each with {args.growth:.0%} of the first photos more; how many classes with a drop of "
        f"{100 * args.drop:g} points will have been confirmed"
    )


def _without_traces(config: Config, folder: str, *, is_asked: bool) -> Config:
    """The config with a workspace that goes; nobody is told who asks where nobody is asked."""
    source = config.source
    if not is_asked and not source.contact.strip():
        source = source.model_copy(update={"contact": "nobody is asked"})
    return config.model_copy(update={"workspace": f"{folder}/workspace", "source": source})


def _planned(plan: ClassPlan, photos: int, offered: int | None) -> dict[str, str]:
    reached = percent(plan.detectable_drop) if plan.detectable_drop < 1 else "none"
    return {
        "class": plan.class_id,
        "offered": "unknown" if offered is None else f"{offered:,}",
        "taken": f"{photos:,}",
        "groups": str(plan.num_groups),
        "smallest confirmed drop, points": reached,
        "needed: photos of the class": f"{plan.class_photos:,}",
        "per group": f"{plan.photos_per_group:,}",
        "observers per group": f"{plan.observers_per_group:,}",
    }


def _merged(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Classes of which the same is said in one row."""
    by_figures: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        by_figures.setdefault(tuple(list(row.values())[1:]), []).append(row["class"])
    names = list(rows[0]) if rows else []
    return [
        dict(zip(names, (of[0] if len(of) == 1 else f"{of[0]} and {len(of) - 1} more", *figures), strict=True))
        for figures, of in by_figures.items()
    ]


def _print_costs(costs: Costs, kind: str, price_per_hour: float | None) -> None:
    from counterset.steps.costs import GPU_SHARE

    quick, slow = costs.embed_hours
    unknown = f", {', '.join(costs.unknown_models)} aside" if costs.unknown_models else ""
    rows = {
        "photos": f"{costs.photos:,}",
        "requests": f"at least {costs.requests:,}: {_time(costs.ask_hours)}" if costs.requests else "none",
        "bytes of photos": f"{costs.media_bytes / 1e9:,.1f} GB: {_time(costs.download_hours)}",
        "embedding on this machine": f"{_time(quick)} with bfloat16, {_time(slow)} without{unknown}",
    }
    if costs.gpu_hours is not None:
        rows["embedding on the GPU"] = f"{_time(costs.gpu_hours)}{unknown}"
    if price_per_hour is not None:
        rows["money"] = f"at least {costs.money(price_per_hour):,.2f} for requests, download and embedding"
    rows["disk"] = f"{costs.disk_bytes / 1e9:,.1f} GB"
    print_table(f"the costs of a first build from {kind}", [{"what": what, "": much} for what, much in rows.items()])
    if costs.gpu_hours is None:
        gpu = "name a GPU with --gpu-tflops"
    else:
        gpu = f"the GPU was not measured and is taken to reach {GPU_SHARE:.0%} of its peak"
    print(
        f"estimates: photos of 0.3 bytes per pixel where they cannot be counted; {costs.processors} processors at the "
        f"rate that was measured with ViT-B/32, larger models by their operations; {gpu}. A rebuild asks for every "
        "photo once more, and downloads what is new"
    )


def _time(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"


def _classes_init(args: argparse.Namespace) -> int:
    from counterset.classes import class_list_csv
    from counterset.tables import write_bytes

    check_output(args.output.parent)
    drafts = _drafts(args.names, _api_config(args), args.output.parent / ".counterset")
    for draft in drafts:
        print(f"{draft.spec.class_id}: {draft.note}")
    write_bytes(class_list_csv(draft.spec for draft in drafts).encode(), args.output)
    print(f"wrote {args.output}; check it, then set classes.list to it")
    return 0


def _api_config(args: argparse.Namespace) -> INaturalistConfig:
    from pydantic import ValidationError

    from counterset.sources.inaturalist.settings import INaturalistConfig

    try:
        return INaturalistConfig(api_url=args.api_url, contact=args.contact)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{str(first['loc'][0]).replace('_', '-')}"
        raise UserError(f"{option} {first['input']!r}: {first['msg'].removeprefix('Value error, ')}") from None


def _drafts(names: list[str], config: INaturalistConfig, state: Path) -> tuple[Draft, ...]:
    from open_clip import IMAGENET_CLASSNAMES

    from counterset.sources.inaturalist.drafts import draft_classes

    return draft_classes(names, config, state, IMAGENET_CLASSNAMES)
