"""A package from outside adds a runner, an annotation method and a kind of model: a whole build uses all three."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from counterset.config_sections import ANNOTATORS
from counterset.demo.serve import ServerProcess
from counterset.models.kinds import KINDS
from counterset.runners import RUNNERS

from ..toy_packages import add_package
from .small_build import SMALL_BUILD

TOY = """
import contextlib
import hashlib
import os

import numpy as np

from counterset.stages.annotate.prompts import Method


@contextlib.contextmanager
def start(threads):
    from prefect.task_runners import ThreadPoolTaskRunner
    from counterset_flows.pool import Pool, limits_of

    class Noting(Pool):
        def submit(self, task, stage, **parameters):
            with open(os.environ["TOY_LOG"], "a") as log:
                log.write(f"{stage} {parameters.get('model', '')}".strip() + chr(10))
            return super().submit(task, stage, **parameters)

    with ThreadPoolTaskRunner(max_workers=3) as runner:
        yield Noting(runner, limits_of(1, threads), threads)


method = Method(lambda prompts, spec: prompts.places)


class Toy:
    family, weights_sha256, embedding_dim, trained_on = "toy", "", 3, ("toys",)

    def __init__(self, name, backend):
        self.name, self.features_id = name, "toy-" + name

    def encode_images(self, images, batch_size):
        return np.array([list(hashlib.sha256(image).digest()[:3]) for image in images], np.float32).reshape(-1, 3)

    def check_labels(self, space):
        pass

    def label_rows(self, space):
        return np.array([list(hashlib.sha256(label.encode()).digest()[:3]) for label in space.labels], np.float32)
"""
ENTRY_POINTS = {
    RUNNERS.group: {"noting": "start"},
    ANNOTATORS.group: {"toy": "method"},
    KINDS.group: {"toy": "Toy"},
}
CONFIG = """
name = "a-build"
workspace = "toys/workspace"
releases = "toys/releases"
runner = "{runner}"
""" + SMALL_BUILD.replace('["demo:selector"]', '["demo:selector"]\nevaluators = ["toy:one"]').replace(
    "[annotate]", '[annotate]\nmethod = "toy"'
)


def test_a_whole_build_with_a_runner_a_method_and_a_model_from_outside(
    sandbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if each build were a process, which looks for packages once; `tests/test_examples.py` starts some."""
    log, work = tmp_path / "tasks.txt", sandbox.folder / "toys"
    work.mkdir()

    def build(runner: str, version: str) -> subprocess.CompletedProcess[str]:
        """The command line beside one version of the package."""
        site = tmp_path / version
        if not site.exists():
            add_package(site, "toy_packages", code=TOY, entry_points=ENTRY_POINTS, version=version)
        log.write_text("")
        (work / "toys.toml").write_text(CONFIG.format(runner=runner, url=server.url))
        with monkeypatch.context() as patch:
            patch.setenv("TOY_LOG", str(log))
            patch.syspath_prepend(site)
            forget()  # what other tests have looked for
            try:
                return sandbox.here("build", str(work / "toys.toml"))
            finally:
                forget()

    def forget() -> None:
        sys.modules.pop("toy_packages", None)
        for registry in (RUNNERS, ANNOTATORS, KINDS):
            vars(registry).pop("_entry_points", None)

    def made() -> dict[str, int]:
        """What the last run did not find done, by stage."""
        stages = json.loads(max((work / "toys/workspace/runs").glob("*.json")).read_text())["stages"]
        return {stage: int(counts["done"]) for stage, counts in stages.items() if counts["done"]}

    with ServerProcess("--photos-per-class", "60", "--seed", "5") as server:
        first = build("noting", "1.0")
        assert first.returncode == 0, first.stderr
        tasks = log.read_text().splitlines()
        assert {"download", "inspect", "embed demo:annotator", "embed demo:selector", "embed toy:one"} == set(tasks)
        assert set(made()) == {"crawl", "download", "inspect", "embed", "annotate", "evaluate"}
        release = work / "toys/releases/a-build/1.0.0"
        stated = json.loads((release / "release.json").read_text())
        assert stated["config"]["annotate"]["method"] == "toy"
        [evaluator] = [model for model in stated["models"] if model["role"] == "evaluator"]
        assert (evaluator["name"], evaluator["family"]) == ("toy:one", "toy")
        assert evaluator["lineage"]["pretraining"] == "toys"
        again = build("threads", "1.0")
        assert again.returncode == 0 and not made(), "nothing is done twice, and the runner is in no key"
        later = build("noting", "2.0")
        assert later.returncode == 0, later.stderr
        assert set(log.read_text().splitlines()) == {"embed toy:one"}, "the package's version is in its models' keys"
        assert set(made()) == {"embed", "annotate", "evaluate"}, "and in the keys of what its method names"
