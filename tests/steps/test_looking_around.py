"""A build whose annotator looks past the animal embeds its photos so, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.demo.server.look_alike import serve
from counterset.demo.world.observations import demo_catalog
from counterset.errors import ConfigError

from ..flows.small_build import SMALL_BUILD
from . import whole_build

HEAD = 'name = "a-build"\nworkspace = "workspace"\nreleases = "releases"\n'
PLAIN = ["photo_id", "model", "embedding"]


def test_the_extra_vector_is_computed_only_where_a_method_needs_it(tmp_path: Path) -> None:
    config, workspace = tmp_path / "around.toml", tmp_path / "workspace"
    kept: set[Path] = set()

    def build(annotate: str, evaluators: str = "") -> set[str]:
        """The stages that wrote something."""
        text = SMALL_BUILD.format(url=server.photo_url).replace("[annotate]", f"[annotate]\n{annotate}")
        config.write_text(HEAD + text.replace('["demo:selector"]', f'["demo:selector"]\n{evaluators}'))
        whole_build.build(config)
        new = set(workspace.rglob("*.parquet")) - kept
        kept.update(new)
        return {path.relative_to(workspace).parts[0] for path in new}

    def columns() -> list[list[str]]:
        return sorted(pq.read_schema(path).names for path in (workspace / "embeddings").glob("*/*.parquet"))

    def newest(table: str) -> pa.Table:
        return pq.read_table(max((tmp_path / "releases/a-build").glob(f"*/{table}.parquet")))

    with serve(demo_catalog(40, 5)[0]) as server:
        assert {"crawl", "images", "photos", "embeddings"} <= build("")
        num_files = len(columns())
        assert columns() == [PLAIN] * num_files
        boxed = newest("covariates").to_pylist()[0]["photo_id"]
        (tmp_path / "animals.csv").write_text(f"photo_id,x,y,width,height\n{boxed},0.25,0.25,0.5,0.5\n")
        assert build('animals = "animals.csv"') == {"animals"}, "for covariates nothing is embedded anew"
        shares = {row["photo_id"]: row["animal_share"] for row in newest("covariates").to_pylist()}
        assert shares.pop(boxed) == pytest.approx(0.25) and set(shares.values()) == {None}
        with pytest.raises(ConfigError, match="demo:annotator cannot be measured as well"):
            build('method = "surroundings"', 'evaluators = ["demo:annotator"]')
        unchanged = {"crawl", "images", "photos", "predictions"}
        assert {"embeddings", "backgrounds"} <= (around := build('method = "surroundings"')) and not around & unchanged
        assert columns() == sorted([PLAIN] * num_files + [[*PLAIN, "surroundings"]] * (num_files // 2))
        masked = build('method = "surroundings"\nanimals = "animals.csv"')
        assert {"embeddings", "backgrounds"} <= masked and not masked & unchanged
        stated = json.loads(max((tmp_path / "releases/a-build").glob("*/release.json")).read_text())
        assert stated["config"]["annotate"]["method"] == "surroundings"
        assert stated["config"]["annotate"]["animals"].startswith("animals.csv")
        assert not build("")
