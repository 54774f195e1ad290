"""What a build of the demo starts from."""

from __future__ import annotations

from pathlib import Path

from counterset.demo.start import Demo
from counterset.demo.truth_report import remaining_rows, remaining_summary
from counterset.demo.world.observations import demo_catalog
from counterset.manifests import config_path
from counterset.places import Places
from counterset.review.labels import read_label_file


def test_worlds_and_seeds_have_names_and_workspaces_of_their_own(tmp_path: Path) -> None:
    demos = (Demo(), Demo(seed=3), Demo(world="hard"), Demo(world="hostile", seed=3), Demo(is_quick=True))
    configs = [demo.config(tmp_path, "http://127.0.0.1:1") for demo in demos]
    assert [config.name for config in configs] == [
        "counterset-demo",
        "counterset-demo-3",
        "counterset-demo-hard",
        "counterset-demo-hostile-3",
        "counterset-demo-quick",
    ]
    assert len({config.workspace for config in configs}) == len(configs)
    assert configs[0].source.photo_url == "http://127.0.0.1:1" and configs[1].seed == 3


def test_the_world_of_causes_says_where_its_animals_are(tmp_path: Path) -> None:
    demo = Demo(2, world="causes")
    path = demo.write_boxes(tmp_path)
    config = demo.config(tmp_path, "http://127.0.0.1:1")
    assert Path(config.annotate.animals) == path and config.name == "counterset-demo-causes"
    truth = demo_catalog(2, world="causes")[1]
    places = Places.read(str(path))
    known = [f"inaturalist-{photo_id}" in places for photo_id in truth["photo_id"].to_pylist()]
    assert sum(known) >= 14, "nearly all of the 16 good photos"
    assert not Demo(2).settings()["annotate"].get("animals")


def test_what_remains_is_set_beside_the_truth() -> None:
    row = {"drop_controlled": 0.1, "drop_controlled_low": 0.0, "drop_controlled_high": 0.25}
    controlled = [row | {"class_id": "a"}, row | {"class_id": "b", "drop_controlled_low": None}]
    left = remaining_rows([{"class_id": name, "drop": 0.5, "true_drop": 0.2} for name in "abc"], controlled)
    assert [(one["class_id"], one["is_covered"]) for one in left] == [("a", True)]
    assert "+30.0 points" in remaining_summary(left)
    assert "-10.0, and 1 of 1" in remaining_summary(left) and "no class" in remaining_summary([])


def test_quick_is_smaller_and_says_what_it_gives_up() -> None:
    quick, whole = Demo(is_quick=True).settings(), Demo().settings()
    assert quick["source"]["photos_per_class"] < whole["source"]["photos_per_class"]
    assert Demo(7).settings()["source"]["photos_per_class"] == 7
    assert not quick["models"].get("evaluators") and whole["models"]["evaluators"]
    assert "gives up" in config_path("demo_quick.toml").read_text(encoding="utf-8")


def test_a_server_keeps_its_port_for_the_same_demo(tmp_path: Path) -> None:
    demo = Demo(2, seed=1)
    with demo.server(tmp_path) as first:
        url = first.url
    with demo.server(tmp_path) as second:
        assert second.url == url


def test_the_labels_are_the_truth_of_every_photo(tmp_path: Path) -> None:
    demo = Demo(photos_per_class=3)
    _, truth = demo_catalog(3)
    said = read_label_file(demo.write_labels(tmp_path))
    true = dict(zip(truth["photo_id"].to_pylist(), truth["background"].to_pylist(), strict=True))
    wanted = {f"inaturalist-{number}": name for number, name in true.items()}
    assert {label.photo_id: label.said for label in said.labels} == wanted
    assert {label.probability for label in said.labels} == {1.0} and all(label.class_id for label in said.labels)
