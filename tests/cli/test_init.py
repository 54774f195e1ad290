"""`init` writes a config that `validate` takes, from a folder, a list of addresses, or names."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from counterset.classes import load_classes
from counterset.cli import main
from counterset.config import load_config
from counterset.demo.server.look_alike import serve
from counterset.demo.world.observations import demo_catalog

DEMO = ("--annotator", "demo:annotator", "--selector", "demo:selector", "--vocabulary", "demo")
JPEG = b"\xff\xd8\xff\xe0"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def photos(**counts: int) -> None:
    for name, count in counts.items():
        Path("photos", name).mkdir(parents=True)
        for number in range(count):
            Path("photos", name, f"{number}.jpg").write_bytes(JPEG)


def test_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    photos(red_fox=90, Weißstorch=70, empty=0)
    Path("photos", "読").mkdir()
    Path("photos", "読", "1.jpg").write_bytes(JPEG)
    assert main(["init", "photos", "--name", "My birds", *DEMO]) == 0
    printed = capsys.readouterr().out
    assert "left out, for they hold no photo: empty" in printed
    assert "counterset validate my-birds/build.toml" in printed
    config = load_config("my-birds/build.toml")
    assert [(spec.class_id, spec.name) for spec in load_classes(config.classes.list)] == [
        ("weissstorch", "Weißstorch"),
        ("red_fox", "red fox"),
        ("class_3", "読"),
    ]
    assert config.select.min_photos == 3, "a twentieth of what a class has"
    assert config.evaluate.label_space == "classes"
    assert main(["validate", "my-birds/build.toml"]) == 0
    assert "photographer of its own" in capsys.readouterr().out


def test_classes_of_imagenet_are_measured_among_its_names() -> None:
    photos(red_fox=400, **{"Arctic-fox": 400})
    assert main(["init", "photos", *DEMO]) == 0
    config = load_config("photos/build.toml")
    assert config.evaluate.label_space == "imagenet1k"
    assert [spec.imagenet_index for spec in load_classes(config.classes.list)] == [279, 277]
    assert (config.select.min_photos, config.select.min_units) == (10, 3)


def test_a_list() -> None:
    rows = [f"https://{'ab'[n % 2]}.example/{n}.jpg,{'red fox' if n < 30 else 'hare'}" for n in range(40)]
    Path("list.csv").write_text("\n".join(["url,class", *rows, "http://10.0.0.1/x.jpg,hare"]))
    assert main(["init", "list.csv", *DEMO]) == 0
    config = load_config("list/build.toml")
    assert config.source.allowed_hosts == ("a.example", "b.example"), "no private one"
    assert [spec.class_id for spec in load_classes(config.classes.list)] == ["red_fox", "hare"]
    assert main(["validate", "list/build.toml"]) == 0


def test_names(capsys: pytest.CaptureFixture[str]) -> None:
    catalog, _ = demo_catalog(2, 0)
    with serve(catalog) as server:
        arguments = ["init", "polar bear", "brown bear", "--contact", "me@example.org", "--api-url", server.api_url]
        assert main([*arguments, *DEMO]) == 0
        assert main(["validate", "polar-bear/build.toml"]) == 0
        rented = ["--gpu-tflops", "100", "--price-per-hour", "2.5"]
        months = ["--months", "3", "--growth", "0.5"]
        assert main(["plan", "polar-bear/build.toml", "--ask", "--look", "3", *months, *rented]) == 0
    assert "taxon" in (printed := capsys.readouterr().out)
    assert "requests" in printed and "look 3 of its series" in printed and "to be labelled blindly" in printed
    assert "embedding on the GPU" in printed and "money" in printed and "taken to reach 30% of its peak" in printed
    assert "each with 50% of the first photos more" in printed and "confirmed by then" in printed
    for option, value in (("--months", "0"), ("--months", "61"), ("--growth", "-0.1")):
        assert main(["plan", "polar-bear/build.toml", option, value]) == 2
        assert f"{option} {value} is out of range" in capsys.readouterr().err
    assert main(["plan", "polar-bear/build.toml", "--gpu-tflops", "-1"]) == 2
    assert "--gpu-tflops -1.0 is out of range; give a number above 0" in capsys.readouterr().err
    assert main(["plan", "polar-bear/build.toml", "--look", "0"]) == 2
    assert "--look 0 is no look; the first one of a series is 1" in capsys.readouterr().err
    config = load_config("polar-bear/build.toml")
    assert config.source.contact == "me@example.org"
    assert all(spec.taxon_ids for spec in load_classes(config.classes.list))
    assert not Path(".counterset").exists(), "nothing but the three files"


def test_nothing_is_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    photos(red_fox=3, hare=3)
    assert main(["init", "photos", "--output", "out", *DEMO]) == 0
    before = Path("out/build.toml").read_text()
    assert main(["init", "photos", "--output", "out", "--name", "other", *DEMO]) == 2
    assert "is there already" in capsys.readouterr().err
    assert Path("out/build.toml").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere/photos"], "is not there"),
        (["nowhere.csv"], "is not there"),
        (["flat"], "holds no folder with photos"),
        (["notes.txt"], "is no list of addresses"),
        (["empty.csv"], "no row of empty.csv names a class"),
        (["flat", "more"], "give one folder"),
        (["red fox"], "set source.contact"),
        (["flat", "--vocabulary", "nothing"], "holds no folder"),
    ],
)
def test_what_cannot_be_begun_with(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("flat").mkdir()
    Path("flat", "1.jpg").write_bytes(JPEG)
    Path("notes.txt").write_text("notes")
    Path("empty.csv").write_text("url,class\n")
    assert main(["init", *arguments]) == 2
    text = capsys.readouterr().err.strip()
    assert words in text and "\n" not in text


def test_a_path_with_quotes_is_a_string_of_toml(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path('my "own"\\photos')
    (folder / "hare").mkdir(parents=True)
    (folder / "fox").mkdir()
    for name in ("hare", "fox"):
        (folder / name / "1.jpg").write_bytes(JPEG)
    assert main(["init", str(folder), "--output", "out", *DEMO]) == 0
    assert tomllib.loads(Path("out/build.toml").read_text())["source"]["path"] == f"../{folder}"
    assert main(["validate", "out/build.toml"]) == 0
