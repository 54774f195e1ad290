"""A build whose annotator looks past the animal embeds its photos so, and nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq

from counterset.demo.serve import ServerProcess

from .small_build import SMALL_BUILD

HEAD = 'name = "a-build"\nworkspace = "around/workspace"\nreleases = "around/releases"\n'


def test_the_extra_vector_is_computed_only_where_a_method_needs_it(sandbox: Any) -> None:
    work = sandbox.folder / "around"
    work.mkdir()
    (sandbox.folder / "animals.csv").write_text("photo_id,x,y,width,height\ninaturalist-1,0.25,0.25,0.5,0.5\n")

    def build(annotate: str) -> Any:
        text = SMALL_BUILD.format(url=server.url).replace("[annotate]", f"[annotate]\n{annotate}")
        (sandbox.folder / "around.toml").write_text(HEAD + text)
        return sandbox.counterset("build", str(sandbox.folder / "around.toml"))

    def done() -> dict[str, int]:
        """What the last run did not find done, by stage."""
        stages = json.loads(max((work / "workspace/runs").glob("*.json")).read_text())["stages"]
        return {stage: int(counts["done"]) for stage, counts in stages.items() if counts["done"]}

    def columns() -> list[list[str]]:
        return sorted(pq.read_schema(path).names for path in (work / "workspace/embeddings").glob("*/*.parquet"))

    plain = ["photo_id", "model", "embedding"]
    with ServerProcess("--photos-per-class", "60", "--seed", "5") as server:
        first = build("")
        assert first.returncode == 0, first.stderr
        num_files = len(columns())
        assert columns() == [plain] * num_files
        refused = build('animals = "animals.csv"')
        assert refused.returncode == 2 and "does not look past the animal" in refused.stderr
        text = SMALL_BUILD.replace('["demo:selector"]', '["demo:selector"]\nevaluators = ["demo:annotator"]')
        (sandbox.folder / "both.toml").write_text(
            HEAD + text.format(url=server.url).replace("[annotate]", '[annotate]\nmethod = "surroundings"')
        )
        both = sandbox.counterset("build", str(sandbox.folder / "both.toml"))
        assert both.returncode == 2 and "demo:annotator cannot be measured as well" in both.stderr.replace("\n", " ")
        around = build('method = "surroundings"')
        assert around.returncode == 0, around.stderr
        assert set(done()) == {"embed", "annotate"}
        assert columns() == sorted([plain] * num_files + [[*plain, "surroundings"]] * (num_files // 2))
        masked = build('method = "surroundings"\nanimals = "animals.csv"')
        assert masked.returncode == 0 and set(done()) == {"embed", "annotate"}
        stated = json.loads(max((work / "releases/a-build").glob("*/release.json")).read_text())["config"]["annotate"]
        assert stated["method"] == "surroundings" and stated["animals"].startswith("animals.csv")
        again = build("")
        assert again.returncode == 0 and not done()
