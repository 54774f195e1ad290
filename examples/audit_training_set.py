"""Tell how near a release is to a training set, from that set's embeddings.

    python audit_training_set.py demo/releases/counterset-demo laion-embeddings/ --model ViT-B-32/laion2b_s34b_b79k

Embeddings are a folder of Parquet files, `.npy` files, or what clip-retrieval writes. Those of the release's photos are
computed with the same model.
"""

from __future__ import annotations

import argparse
import json

import pyarrow.parquet as pq

import counterset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("release", help="a packaged name, a folder, or an https:// or s3:// address")
    parser.add_argument("embeddings", help="a folder of embeddings of the training set")
    parser.add_argument("--model", help="the model of the embeddings, where their files do not say it")
    parser.add_argument("--output", default="audits", help="where audits are kept")
    args = parser.parse_args()

    audit = counterset.audit(args.release, args.embeddings, model=args.model, output=args.output)

    found = json.loads((audit.path / "audit.json").read_text(encoding="utf-8"))
    print(f"{found['num_near_duplicates']} of {found['num_photos']} photos have a near duplicate in the training set")

    # One row per model and band of similarity; `matched` is the drop that is left at equal distance from the set.
    for row in pq.read_table(audit.path / "bands.parquet").to_pylist():
        if row["band"] in ("all", "matched") and row["drop"] is not None:
            print(f"{row['model']}, {row['band']}: drop {row['drop']:.1%}")
    print(f"open {audit.path / 'audit.html'}")


if __name__ == "__main__":
    main()
