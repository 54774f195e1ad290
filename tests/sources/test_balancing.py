"""Balanced sampling: against a plain loop, and against its exact expectations."""

from __future__ import annotations

import csv
import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.cli import main
from counterset.errors import UserError
from counterset.sources.balanced_lists import Balanced, balance_lists
from counterset.sources.balancing import Balance, draws, hashes
from counterset.sources.matching import words_of

ENTRIES = ["fox", "Red Fox", "hare", "snow hare", "tree", "red  fox", "-", "lake"]
WORDS = ["fox", "red fox", "snow", "hare", "tree", "lakes", "a", "tree"]


def captions(num: int) -> list[tuple[str, str]]:
    """(id, text); some texts repeat, and so say what others say."""
    chosen = random.Random(3)
    return [(f"t{number}", " ".join(chosen.choices(WORDS, k=chosen.randint(0, 4)))) for number in range(num)]


def named(text: str) -> set[str]:
    """The entries that a text names, by their words: a plain loop."""
    words = f" {' '.join(words_of(text))} "
    return {key for key in map(_key, ENTRIES) if key and f" {key} " in words}


def _key(entry: str) -> str:
    return " ".join(words_of(entry))


def drawn_by_loop(rows: list[tuple[str, str]], t: int, seed: int) -> list[str]:
    """The ids that Algorithm 1 keeps when its draws are ours: numbers of Python, one pair at a time."""
    counts = Counter(entry for _, text in rows for entry in named(text))
    kept = []
    for text_id, text in rows:
        for entry in named(text):
            draw = int(draws(hashes([text_id], seed), hashes([entry], seed))[0])
            if counts[entry] <= t or draw * counts[entry] < t << 64:
                kept.append(text_id)
                break
    return kept


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    pq.write_table(pa.table({"uid": [row[0] for row in rows], "caption": [row[1] for row in rows]}), path)
    return path


def balanced(folder: Path, lists: list[Path], t: int, seed: int = 0) -> tuple[Balanced, list[str], list[str]]:
    """What is told, the ids that are kept, and the reasons of the others."""
    (folder / "entries.txt").write_text("\n".join(ENTRIES))
    output = folder / f"out-{len(list(folder.iterdir()))}"
    told = balance_lists(lists, folder / "entries.txt", output, t=t, seed=seed, id_column="uid")
    kept, other = (
        [value for path in sorted(output.glob(f"{name}-*")) for value in pq.read_table(path)[column].to_pylist()]
        for name, column in (("kept", "uid"), ("not_kept", "reason"))
    )
    return told, kept, other


def test_the_same_texts_as_a_plain_loop(tmp_path: Path) -> None:
    rows = captions(3_000)
    for t, seed in ((1, 0), (40, 0), (40, 1), (10**6, 0)):
        told, kept, other = balanced(tmp_path, [write(tmp_path / "a.parquet", rows)], t, seed)
        assert kept == drawn_by_loop(rows, t, seed)
        assert len(kept) + len(other) == len(rows) and told.num_kept == len(kept)
        assert Counter(other)["no_entry"] == sum(1 for _, text in rows if text and not named(text))
        assert Counter(other)["no_text"] == sum(1 for _, text in rows if not text)


def test_no_order_of_files_or_rows_matters_and_a_larger_t_keeps_more(tmp_path: Path) -> None:
    rows = captions(2_000)
    _, kept, _ = balanced(tmp_path, [write(tmp_path / "a.parquet", rows)], 30)
    shuffled = random.Random(1).sample(rows, len(rows))
    halves = [
        write(tmp_path / f"{name}.parquet", part) for name, part in (("b", shuffled[:700]), ("c", shuffled[700:]))
    ]
    assert set(balanced(tmp_path, halves, 30)[1]) == set(kept)
    assert set(kept) < set(balanced(tmp_path, halves, 60)[1]) < set(balanced(tmp_path, halves, 600)[1])
    assert set(balanced(tmp_path, halves, 30, seed=1)[1]) != set(kept)


def test_texts_are_kept_as_often_as_the_formula_says() -> None:
    """Three entries of 100, 1000 and 10 texts, t = 50: p = 0.5, 0.05 and 1."""
    num = 4_000
    counts = np.array([100, 1_000, 10])
    texts = {"a": [0], "b": [1], "ab": [0, 1], "abc": [0, 1, 2]}
    chances = {"a": 0.5, "b": 0.05, "ab": 1 - 0.5 * 0.95, "abc": 1.0}
    for seed in (0, 1):
        drawn = Balance(counts, 50, hashes("xyz", seed))
        np.testing.assert_allclose(drawn.probability, [0.5, 0.05, 1])
        for name, entries in texts.items():
            text, entry = np.repeat(np.arange(num), len(entries)), np.tile(entries, num)
            np.testing.assert_allclose(drawn.expected(text, entry, num), chances[name])
            kept = drawn.kept(text, entry, hashes((f"{name}{number}" for number in range(num)), seed)).mean()
            error = math.sqrt(chances[name] * (1 - chances[name]) / num)
            assert abs(kept - chances[name]) <= 3 * error, name


def test_draws_of_different_pairs_are_independent() -> None:
    text, entry = hashes(map(str, range(2_000)), 0), hashes(map(str, range(30)), 0)
    u = draws(text[:, None], entry[None, :]) / 2.0**64  # (texts, entries)
    expected = np.full(20, u.size / 20)
    found = np.histogram(u, 20, (0, 1))[0]
    assert ((found - expected) ** 2 / expected).sum() < 45  # 19 degrees of freedom: 1 in 1000 is above 44
    correlations = np.corrcoef(u.T)[np.triu_indices(30, 1)]
    assert np.abs(correlations).max() < 4.5 / math.sqrt(2_000)
    assert abs(correlations.std() * math.sqrt(2_000) - 1) < 0.15
    assert np.abs(np.corrcoef(u[:-1].ravel(), u[1:].ravel())[0, 1]) < 4 / math.sqrt(u.size)


def test_every_row_of_a_text_file_is_kept_or_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "entries.json").write_text(json.dumps(["fox", "hare"]))
    lines = ["url,text,other", "u1,a fox,1", "u2,a hare,2", "u3,,3", "u4,a tree,4", "u5,a,fox,5"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    (tmp_path / "b.jsonl").write_text('{"url": "u6", "text": "x", "tags": ["a", "fox"]}\nno\n')
    lists = [str(tmp_path / name) for name in ("a.csv", "b.jsonl")]
    command = ["balance", *lists, "--entries", str(tmp_path / "entries.json"), "--output", str(tmp_path / "out")]
    assert main([*command, "--t", "2"]) == 0
    assert "3 rows kept" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "entries.parquet",
        *("kept-00000.parquet", "kept-00001.parquet"),
        *("not_kept-00000.parquet", "not_kept-00001.parquet"),
    ]
    kept = pq.read_table(tmp_path / "out/kept-00000.parquet").to_pylist()
    assert kept == [{"url": "u1", "text": "a fox", "other": "1"}, {"url": "u2", "text": "a hare", "other": "2"}]
    assert pq.read_table(tmp_path / "out/kept-00001.parquet")["tags"].to_pylist() == ["a|fox"]
    other = [
        row for number in (0, 1) for row in pq.read_table(tmp_path / f"out/not_kept-0000{number}.parquet").to_pylist()
    ]
    assert [(row["file"], row["row"], row["reason"]) for row in other] == [
        (0, 4, "no_text"), (0, 5, "no_entry"), (0, 6, "malformed"), (1, 2, "malformed"),
    ]  # fmt: skip
    entries = pq.read_table(tmp_path / "out/entries.parquet").to_pylist()
    assert [tuple(row.values()) for row in entries] == [("fox", 2, 1.0, 2), ("hare", 1, 1.0, 1)]
    assert main(command) == 2 and "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"t": 0}, "--t is 0"),
        ({"id_column": "key"}, "has no column 'key'"),
        ({"entries": "-\n"}, "no entry of .* has a letter or digit"),
        ({"name": "a.txt"}, "is no list of captions"),
        ({"header": "url,class"}, "has no column 'title'"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(fields: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "entries.txt").write_text(str(fields.get("entries", "fox")))
    path = tmp_path / str(fields.get("name", "a.csv"))
    with path.open("w") as file:
        csv.writer(file).writerows([str(fields.get("header", "url,title")).split(","), ["u1", "a fox"]])
    with pytest.raises(UserError, match=message):
        balance_lists(
            [path],
            tmp_path / "entries.txt",
            tmp_path / "out",
            t=int(str(fields.get("t", 1))),
            seed=0,
            id_column=str(fields["id_column"]) if "id_column" in fields else None,
        )
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([path.name, "entries.txt"])
