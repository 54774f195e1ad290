"""Commands on train-test similarity: audit, prune."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

from counterset.api import check_fraction, prepare_audit, result_name, stem
from counterset.cli.flows import run_flow
from counterset.cli.printing import print_table
from counterset.errors import UserError
from counterset.runners import RUNNERS
from counterset.storage import Place, absolute, place

EMBEDDINGS_HELP = """\
embeddings are a folder (or one file) of shards, on disk or at s3://bucket/prefix:
  *.parquet                      an id column (photo_id, id, image_path, key or uid) and a list column of floats;
                                 a column or metadata key `model` says which model made them
  NAME.npy and NAME.parquet      vectors, and their ids in the same order
  img_emb/img_emb_N.npy and      what clip-retrieval's inference writes
  metadata/metadata_N.parquet
vectors have length 1 (or pass --normalise); all that is compared is of one model, stated with --model where
the files do not say it. A run that was stopped goes on when it is called again."""


def add(commands: Any) -> None:
    """The commands that compare with a training set."""
    audit = commands.add_parser(
        "audit",
        help="how near a release is to a training set, and whether its drops survive at equal distance",
        description="Each photo's most similar training image, near duplicates, and drops by similarity band.",
        epilog=EMBEDDINGS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    audit.add_argument("release", help="folder, name, or URL of a release")
    audit.add_argument("--against", required=True, metavar="EMBEDDINGS", help="of the training set")
    audit.add_argument(
        "--queries",
        metavar="EMBEDDINGS",
        help="of the release's photos under the same model, or the workspace that it was built in, whose vectors are "
        "taken; without it they are computed from the photos",
    )
    audit.add_argument("--threshold", type=float, default=0.95, help="near duplicates are above it (default: 0.95)")
    audit.add_argument("--bands", type=int, default=10, help="bands of similarity (default: 10)")
    audit.add_argument(
        "--index",
        choices=["exact", "ivfpq"],
        default="exact",
        help="ivfpq: approximate, for very large sets; re-ranked exactly, and the recall it reached is stated",
    )
    _shared(audit, "audits")
    audit.set_defaults(run=_audit)

    prune = commands.add_parser(
        "prune",
        help="remove from a training set what is too near to releases, too far from them, or there twice",
        description="Near-pruning (--reference), far-pruning (--keep) and semantic de-duplication (--max-similarity);\n"
        "at least one of them. An image is removed for the first reason that applies: duplicate, near, far.",
        epilog=EMBEDDINGS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    prune.add_argument("--base", required=True, metavar="EMBEDDINGS", help="the set to prune")
    prune.add_argument(
        "--queries",
        nargs="+",
        required=True,
        metavar="RELEASE",
        help="releases (their photos are embedded) or embeddings of test sets",
    )
    prune.add_argument(
        "--reference",
        metavar="EMBEDDINGS",
        help="near-pruning: remove what is nearer to a query than the query's nearest image in this set",
    )
    prune.add_argument("--keep", type=int, help="far-pruning: keep this many images, those most similar to any query")
    prune.add_argument(
        "--max-similarity",
        type=float,
        help="de-duplication: keep one of several images of a k-means cluster that are more similar than this",
    )
    prune.add_argument(
        "--clusters", type=int, help="k-means clusters (default: the square root of the number of images)"
    )
    _shared(prune, "pruned")
    prune.set_defaults(run=_prune)


def _shared(parser: Any, output: str) -> None:
    parser.add_argument("--model", help="the model's tag, e.g. ViT-B-32/laion2b_s34b_b79k, where files do not say it")
    parser.add_argument("--id-column", help="the column of ids in --against, --base or --reference")
    parser.add_argument("--normalise", action="store_true", help="accept vectors of any length and scale them to 1")
    parser.add_argument(
        "--mirror", action="append", default=[], help="where a release's photos are looked for before their own URLs"
    )
    runners = f"where shards are worked on: {', '.join(RUNNERS.own)}, or one that an installed package adds"
    parser.add_argument("--runner", default="threads", help=f"{runners} (default: threads)")
    parser.add_argument("--seed", type=_seed, default=0, help="a whole number of 0 to 2147483647 (default: 0)")
    parser.add_argument("--output", default=output, help=f"folder or s3:// address of results (default: {output})")
    parser.add_argument("--name", help="of the result's folder of versions; the default says what was compared")


def _audit(args: argparse.Namespace) -> int:
    prepare = prepare_audit(
        args.release,
        args.against,
        queries=args.queries,
        threshold=args.threshold,
        bands=args.bands,
        index=args.index,
        model=args.model,
        id_column=args.id_column,
        normalise=args.normalise,
        mirrors=args.mirror,
        runner=args.runner,
        seed=args.seed,
        output=args.output,
        name=args.name,
    )
    folder = run_flow(prepare, args.log_json, "torch" if args.queries else "open_clip")
    _print_audit(folder.path)
    _closing(folder)
    print(f"page     {folder.path / 'audit.html'}")
    return 0


def _prune(args: argparse.Namespace) -> int:
    from counterset.similarity.embedding_sets import check_same, open_embeddings
    from counterset.similarity.results import check_home

    if args.reference is None and args.keep is None and args.max_similarity is None:
        raise UserError("nothing would be removed; give --reference, --keep or --max-similarity")
    if args.max_similarity is not None:
        check_fraction("--max-similarity", args.max_similarity)
    RUNNERS.check(args.runner)
    for option, value in (("--keep", args.keep), ("--clusters", args.clusters)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value} is too few; give at least 1")
    output = absolute(place(args.output))
    name = result_name(args.name, stem(place(args.base)))
    check_home(output / name, "pruning")
    options = {"id_column": args.id_column, "normalise": args.normalise}
    base = open_embeddings(args.base, args.model, **options)
    reference = None
    if args.reference is not None:
        reference = open_embeddings(args.reference, args.model, fallback_model=base.model, **options)
        check_same(base, reference)
    queries = [_queries(text, base, args.id_column, tuple(args.mirror)) for text in args.queries]

    def prepare() -> Callable[[], Any]:
        from counterset_flows.prune import prune

        from counterset.steps.pruning_steps import PruneOptions
        from counterset.steps.similarity_steps import Source

        return functools.partial(
            prune,
            base,
            [Source(*query, tuple(args.mirror), address) for query, address in queries],
            reference,
            output,
            name,
            PruneOptions(args.keep, args.max_similarity, args.clusters, args.seed),
            args.id_column,
            args.runner,
        )

    is_embedded = all(vectors for (_, vectors), _ in queries)
    folder = run_flow(prepare, args.log_json, "torch" if is_embedded else "open_clip")
    _print_pruning(folder.path)
    _closing(folder)
    return 0


def _check_queries(base: Any, path: Place, id_column: str | None) -> None:
    """Refuse, before anything is begun, queries that cannot be compared with the base."""
    from counterset.similarity.embedding_sets import check_same, open_embeddings

    normalise = base.is_normalised_here
    check_same(base, open_embeddings(path, fallback_model=base.model, id_column=id_column, normalise=normalise))


def _queries(
    text: str, base: Any, id_column: str | None, mirrors: tuple[str, ...]
) -> tuple[tuple[Any, Place | None], str]:
    """A release by folder, name or address, or else where embeddings are; and the address."""
    from counterset.load import load
    from counterset.release.checksums import SUMS

    if "://" not in text or text.startswith("s3://"):
        path = place(text)
        is_release = (path / SUMS).is_file() or any(path.glob(f"*/{SUMS}"))
        if not is_release and (path.is_file() or path.is_dir()):
            _check_queries(base, path, id_column)
            return (None, path), ""
    return (load(text, mirrors=mirrors), None), text if "://" in text else ""


def _seed(text: str) -> int:
    if not 0 <= int(text) < 1 << 31:
        raise ValueError
    return int(text)


_seed.__name__ = "seed"  # argparse's word for it


def _closing(folder: Any) -> None:
    if not folder.is_new:
        print("nothing to do: this was published before")
    print(f"\nresult   {folder.path}")


def _print_audit(path: Place) -> None:
    import json

    from counterset.similarity.schemas import BANDS
    from counterset.tables import read_table

    audit = json.loads((path / "audit.json").read_text(encoding="utf-8"))
    print(
        f"{audit['num_photos']} photos of {audit['release']} against {audit['num_base']} images of {audit['base']} "
        f"under {audit['model']}: {audit['search']}"
    )
    if audit["num_missing"]:
        print(f"{audit['num_missing']} photos have no embedding and are left out")
    for model, number in audit.get("num_unpredicted", {}).items():
        print(f"{number} photos of the pairs have no prediction by {model}, whose drops leave them out")
    print(
        f"{audit['num_near_duplicates']} photos have a near duplicate there (above {audit['threshold']}); "
        f"{audit['num_own_duplicates']} near-duplicate pairs within the release, "
        f"{audit['num_across_halves']} of them across its halves"
    )
    rows = read_table(path / "bands.parquet", BANDS).to_pylist()
    shown = [row for row in rows if row["drop"] is not None and row["band"] in ("all", "matched")]
    print_table(
        "does the drop survive among photos equally far from the training images?",
        [
            {
                "model": row["model"],
                "photos": "all" if row["band"] == "all" else "at equal distance",
                "classes": str(row["num_classes"]),
                "drop %": f"{100 * row['drop']:.1f}",
                "95 % interval": f"{100 * row['drop_low']:.1f} to {100 * row['drop_high']:.1f}",
            }
            for row in shown
        ],
    )


def _print_pruning(path: Place) -> None:
    import json

    pruning = json.loads((path / "pruning.json").read_text(encoding="utf-8"))
    counts = pruning["counts"]
    print(
        f"{pruning['num_base']} images of {pruning['base']}, {pruning['num_queries']} queries, under {pruning['model']}"
    )
    print(
        f"kept {counts['kept']}; removed {counts['duplicate']} as duplicates, {counts['near']} as too near, "
        f"{counts['far']} as too far"
    )
