"""Whatever lists and folders offer is in the end a member or a reject, never both and never neither."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from counterset.config import parse_config
from counterset.photo_rows import Rows
from counterset.schemas import CANDIDATES, IMAGES, MEMBERS, REJECTS
from counterset.steps import shard_steps, table_steps
from counterset.steps.keys import Build
from counterset.steps.rejects import all_rejects
from counterset.steps.series import basis_of
from counterset.tables import read_table, table_of, write_bytes, write_table

CLASSES = {"lion": "lion", "ice_bear": "Ice Bear"}
EXAMPLES = settings(max_examples=20, deadline=None, database=None, derandomize=True)


def picture(number: int) -> bytes:
    """A picture of its own for each number up to 9; others are broken ones."""
    if number > 9:
        return b"\xff\xd8\xff" + bytes([number])
    out = io.BytesIO()
    image = Image.effect_mandelbrot((120, 120), (-2 + number / 9, -1.5, 1, 1.5 - number / 9), 60)
    image.save(out, "PNG")
    return out.getvalue()


PICTURES = [picture(number) for number in range(12)]


def build_of(folder: Path, kind: str, path: str) -> Build:
    config = {
        "name": "rows",
        "workspace": "workspace",
        "classes": {"list": "demo", "only": list(CLASSES)},
        "source": {"kind": kind, "path": path, "photos_per_class": 5, "allowed_hosts": ["photos.example"]},
        "download": {"shard_size": 4},
        "models": {"annotator": "demo:annotator", "selectors": ["demo:selector"]},
        "annotate": {"vocabulary": "demo"},
        "evaluate": {"label_space": "classes"},
    }
    return Build(parse_config(config, folder))


def ends_of(build: Build, served: dict[str, bytes] | None = None) -> tuple[list[str], list[dict[str, str]]]:
    """The members' ids and the rejects of a build; `served` stands for the web."""
    build.source.check(build.specs)
    crawls = [shard_steps.crawl_class(build, spec) for spec in build.specs]
    shard_steps.recheck(build, crawls)
    shards = shard_steps.plan_shards(build, crawls)
    for shard in shards:
        if served is None:
            shard_steps.download_shard(build, shard)
            continue
        wanted = read_table(build.workspace.file("shards", build.pool_key, shard), CANDIDATES).to_pylist()
        images = [{"photo_id": row["photo_id"], "image": served[row["url"]]} for row in wanted if row["url"] in served]
        why = {"stage": "download", "reason": "gone", "detail": ""}
        gone = [row for row in wanted if row["url"] not in served]
        gone = [{"photo_id": row["photo_id"], "class_id": row["class_id"]} | why for row in gone]
        write_table(table_of(REJECTS, gone), REJECTS, build.workspace.file("download_rejects", build.pool_key, shard))
        write_table(table_of(IMAGES, images), IMAGES, build.workspace.file("images", build.pool_key, shard))
    photos = [shard_steps.inspect_shard(build, shard) for shard in shards]
    for model in build.model_names:  # no step here reads them
        for shard in shards:
            write_bytes(b"", build.workspace.file("embeddings", build.embed_key(model), shard))
    members = table_steps.choose_members(build, crawls, photos, [], basis_of(build, crawls, photos))
    wanted = pa.concat_tables(shard_steps.candidate_parts(build, crawls))
    with tempfile.TemporaryDirectory() as scratch:
        rejects = all_rejects(build, members, shards, Rows.of(wanted, CANDIDATES.key), Path(scratch)).table()
    return read_table(members.path, MEMBERS)["photo_id"].to_pylist(), rejects.to_pylist()


def check(kept: list[str], rejects: list[dict[str, str]], num_offered: int) -> None:
    ids = [row["photo_id"] for row in rejects]
    assert not set(kept) & set(ids)
    assert max(Counter([*kept, *ids]).values()) == 1
    assert len(kept) + len(ids) == num_offered


URLS = st.sampled_from(["", "no url", "ftp://photos.example/1", *(f"https://photos.example/{n}" for n in range(14))])
ROWS = st.lists(
    st.tuples(
        URLS,
        st.sampled_from(["lion", "LION", "Ice\u00a0Bear", "ice_bear", "tiger", ""]),
        st.sampled_from(["cc0", "CC BY", "CC_BY_4_0", "?"]),
        st.sampled_from(["Ann", "nan", ""]),
        st.sampled_from(["1", "2", "NULL", ""]),
    ),
    max_size=30,
)
CERTAIN = [("https://photos.example/8", "lion", "cc0", "", ""), ("https://photos.example/9", "ice bear", "cc0", "", "")]


@EXAMPLES
@given(rows=ROWS, broken=st.lists(st.sampled_from(["a,lion", "x", 'y,"lion', "a,b,c,d,e,f"]), max_size=3))
def test_of_a_list(rows: list[tuple[str, ...]], broken: list[str]) -> None:
    lines = ['"' + '","'.join(row) + '"' for row in (*CERTAIN, *rows)]
    served = {f"https://photos.example/{n}": PICTURES[n % 12] for n in range(13)}
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(["url,class,license,attribution,observation_id", *lines, *broken]) + "\n"
        (Path(folder) / "list.csv").write_text(text, encoding="utf-8")
        kept, rejects = ends_of(build_of(Path(folder), "url_list", "list.csv"), served)
    num_blank = sum(not any(row) or row[1] == "tiger" for row in rows)
    check(kept, rejects, len(CERTAIN) + len(rows) + len(broken) - num_blank)


FILES = st.dictionaries(
    st.tuples(
        st.sampled_from(["lion", "lion/more", "Ice Bear"]),
        st.sampled_from(["a.jpg", "b.jpeg", "c.jfif", "d", "e.heic", "f.txt", "g.png", "h.webp"]),
    ),
    st.integers(0, 12),
    max_size=24,
)


@EXAMPLES
@given(files=FILES)
def test_of_a_folder(files: dict[tuple[str, str], int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        for number, name in ((0, "lion"), (1, "Ice Bear")):
            (photos / name).mkdir(parents=True)
            (photos / name / "certain.png").write_bytes(PICTURES[8 + number])
        for (inner, name), number in files.items():
            (photos / inner).mkdir(exist_ok=True)
            (photos / inner / name).write_bytes(PICTURES[number] if number < 12 else b"no picture")
        kept, rejects = ends_of(build_of(Path(folder), "folder", "photos"))
    check(kept, rejects, len(files) + 2)


def test_a_photo_of_two_classes_leaves_both(tmp_path: Path) -> None:
    rows = ["1,lion", "1,ice bear", "2,lion", "3,ice bear"]
    text = "url,class\n" + "".join(f"https://photos.example/{row}\n" for row in rows)
    (tmp_path / "list.csv").write_text(text)
    served = {f"https://photos.example/{n}": PICTURES[n] for n in range(4)}
    build = build_of(tmp_path, "url_list", "list.csv")
    kept, rejects = ends_of(build, served)
    assert len(kept) == 2
    assert {(row["class_id"], row["reason"], row["detail"]) for row in rejects} == {
        (name, "duplicate_id", "offered for lion and ice_bear, so its class is unknown") for name in CLASSES
    }
    assert rejects[1]["photo_id"] == rejects[0]["photo_id"] + "-ice_bear"


def test_a_photo_of_two_classes_leaves_both_where_one_had_no_place_for_it(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name, numbers in (("lion", range(9)), ("ice_bear", [*range(3), 9])):
        (photos / name).mkdir(parents=True)
        for number in numbers:
            (photos / name / f"{number}.png").write_bytes(PICTURES[number])
    kept, rejects = ends_of(build_of(tmp_path, "folder", "photos"))
    check(kept, rejects, 13)
    assert Counter(row["reason"] for row in rejects)["duplicate_id"] == 6
