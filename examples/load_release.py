"""Open a release, say what it holds, and write its photos as folders.

Run it on the packaged release, or on one whose photos can be read:

    python load_release.py counterset-demo
    python load_release.py demo/releases/counterset-demo --export photos
"""

from __future__ import annotations

import argparse

import counterset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("release", help="a packaged name, a folder, or an https:// or s3:// address")
    parser.add_argument("--export", metavar="FOLDER", help="write the photos into this new folder, by class and group")
    args = parser.parse_args()

    release = counterset.load(args.release)
    print(release)

    # `pairs` has one row per class. Only a class whose drop passed its test is confirmed.
    for pair in release.pairs.to_pylist():
        if pair["verdict"] == "confirmed":
            print(
                f"{pair['class_id']}: {pair['common']} {pair['accuracy_common']:.1%}, "
                f"{pair['counter']} {pair['accuracy_counter']:.1%}, "
                f"drop {pair['drop']:.1%} (95 % interval {pair['drop_low']:.1%} to {pair['drop_high']:.1%})"
            )
        else:
            print(f"{pair['class_id']}: {pair['verdict']}")

    # `common` and `counter` are Arrow tables with one row per photo, of the confirmed classes alone.
    print(f"{release.common.num_rows} photos on common backgrounds, {release.counter.num_rows} on counter ones")

    # A photo that was turned away is a row too, with the reason.
    for row in release.rejects["reason"].value_counts().to_pylist():
        print(f"{row['counts']} photos rejected: {row['values']}")

    if args.export:
        exported = release.export("imagefolder", args.export)
        print(f"{exported.num_photos} photos in {exported.path}; {len(exported.missing)} could not be exported")


if __name__ == "__main__":
    main()
