"""One set of answers gives one figure: ours, and that of every harness that a release is exported for.

Where a harness is not installed, its files are read by the rules that its readers state.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import hashlib
import importlib.util
import io
import json
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
import yaml
from PIL import Image

import counterset
from counterset.errors import ConfigError, ReleaseError
from counterset.evaluation.evaluate import Evaluation
from counterset.evaluation.hub_results import write_results
from counterset.evaluation.record import read_candidates
from counterset.load import Release
from counterset.release.exports.vlmevalkit import export as export_table
from counterset.release.harness_files import figures
from counterset.release.questions import LETTERS, QUESTION, Candidates

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def digest(image: Image.Image) -> str:
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def look(image: Image.Image) -> Any:
    """(16, 16, 3) what stays of a photo, however often it is encoded anew."""
    return np.asarray(image.convert("RGB").resize((16, 16)), float)


@dataclass(frozen=True)
class Answered:
    """A release, a model's answers about it, and what `evaluate` makes of them."""

    release: Release
    evaluation: Evaluation
    answers: Mapping[str, str]
    """photo_id -> the label that the model says."""
    by_picture: Mapping[str, str]
    """Digest of a photo's pixels -> the same."""
    looks: Sequence[tuple[Any, str]]
    """Each photo's look, and the same."""

    def nearest(self, image: Image.Image) -> str:
        """What the model says to the photo that an image is made of."""
        return min((float(np.abs(one - look(image)).mean()), label) for one, label in self.looks)[1]

    @property
    def figures(self) -> dict[str, float]:
        [row] = self.evaluation.metrics.to_pylist()
        names = ("common", "counter", "drop", "photo_average_common", "photo_average_counter")
        return {name: row[name] for name in names}

    def export(self, layout: str, folder: Path) -> Path:
        exported = self.release.export(layout, folder)
        assert exported.missing == {}
        assert exported.num_photos == len(self.answers)
        return exported.path

    def letter(self, question: Mapping[str, Any]) -> str:
        return LETTERS[question["options"].index(self.answers[question["photo_id"]])]


@pytest.fixture(scope="module")
def answered(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """Answers that are right for most photos, most often on common backgrounds; classes are of unlike sizes."""
    release = small.load()
    tables = {}
    for split, left_out in (("common", 5), ("counter", 9)):
        table = getattr(release, split).slice(left_out)
        for column, value in (("license", "cc-by"), ("attribution", "(c) A. Author")):
            table = table.set_column(table.column_names.index(column), column, pa.array([value] * table.num_rows))
        tables[split] = table
    read = release.parts

    def parts(name: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        if name in tables:
            yield tables[name] if columns is None else tables[name].select(columns)
        else:
            yield from read(name, columns)

    release.__dict__ |= tables | {"parts": parts}
    labels = list(release.class_names.values())
    answers = {}
    for split, share in (("common", 8), ("counter", 5)):
        for row in getattr(release, split).to_pylist():
            name = release.class_names[row["class_id"]]
            draw = int.from_bytes(hashlib.sha256(row["photo_id"].encode()).digest()[:4], "big")
            answers[row["photo_id"]] = name if draw % 10 < share else labels[draw % len(labels)]
    pictures = [(Image.open(io.BytesIO(release.photo(photo_id))), label) for photo_id, label in answers.items()]
    by_picture = {digest(picture): label for picture, label in pictures}
    evaluation = counterset.evaluate(
        release,
        predict=lambda images, _: [by_picture[digest(image)] for image in images],
        name="mine",
        label_space="classes",
        output=tmp_path_factory.mktemp("evaluations"),
    )
    return Answered(release, evaluation, answers, by_picture, [(look(picture), label) for picture, label in pictures])


def close(found: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return found.keys() == wanted.keys() and all(math.isclose(found[k], wanted[k], abs_tol=1e-9) for k in wanted)


def questions_in(folder: Path) -> list[dict[str, Any]]:
    asked = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    for question in asked:
        with Image.open(folder / question["photo"]) as photo:
            assert photo.size[0] > 100
    return asked


def test_the_answers_tell_figures_apart(answered: Answered) -> None:
    values = list(answered.figures.values())
    assert len({round(value, 6) for value in values}) == len(values)
    assert 0.1 < answered.figures["drop"] < 0.6


def test_inspect_by_its_rules(answered: Answered, tmp_path: Path) -> None:
    """`choice` compares the chosen letter with the target's; the task's metric is in `figures.py`."""
    folder = answered.export("inspect_ai", tmp_path / "out")
    rows = [{**one, "is_correct": answered.letter(one) == one["answer"]} for one in questions_in(folder)]
    sides = {side: [row for row in rows if row["split"] == side] for side in ("common", "counter")}
    found = {name: getattr(figures, name)(rows) for name in ("common", "counter", "drop")}
    found |= {f"photo_average_{side}": figures.photo_average(of) for side, of in sides.items()}
    assert close(found, answered.figures)
    compile((folder / "task.py").read_text(), "task.py", "exec")
    assert (folder / "figures.py").read_bytes() == Path(figures.__file__).read_bytes()


def test_inspect_itself(answered: Answered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("inspect_ai", reason="inspect_ai is not installed")
    folder = answered.export("inspect_ai", tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    [log] = inspected(answered, str(folder.relative_to(tmp_path) / "task.py"), tmp_path)
    found = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert 0.02 < found.pop("drop_stderr") < 0.3
    assert close(found, answered.figures)


def inspected(answered: Answered, task: str, folder: Path) -> list[Any]:
    """Inspect's logs of a task, run with a model that says what the answers say."""
    import inspect_ai

    logs: list[Any] = inspect_ai.eval(task, model=mock_of(answered), display="none", log_dir=str(folder / "logs"))
    for log in logs:
        assert log.status == "success", log.error
    gc.collect()  # it leaves streams open, which would be warned of after the test
    return logs


def mock_of(answered: Answered) -> Any:
    """Inspect's mock of a model that looks at the photo and says what the answers say."""
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def say(messages: Any, *_: Any) -> Any:
        [message] = [one for one in messages if one.role == "user"]
        [image] = [part.image for part in message.content if part.type == "image"]
        [text] = [part.text for part in message.content if part.type == "text"]
        label = answered.by_picture[digest(read_uri(image))]
        [letter] = [line[0] for line in text.splitlines() if line[1:] == f") {label}"]
        said = ModelOutput.from_content("mockllm", f"ANSWER: {letter}")
        said.usage = ModelUsage()  # else it counts tokens with a file from the network
        return said

    return get_model("mockllm/model", custom_outputs=say)


def read_uri(uri: str) -> Image.Image:
    content = base64.b64decode(uri.partition(",")[2]) if uri.startswith("data:") else Path(uri).read_bytes()
    return Image.open(io.BytesIO(content))


def read_task(path: Path) -> dict[str, Any]:
    """A task of lmms-eval, each function read from the file beside it that it names."""

    class Loader(yaml.SafeLoader):
        pass

    def function(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
        module, _, name = loader.construct_scalar(node).partition(".")
        spec = importlib.util.spec_from_file_location(module, path.parent / f"{module}.py")
        assert spec and spec.loader
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        return getattr(made, name)

    Loader.add_constructor("!function", function)
    read: dict[str, Any] = yaml.load(path.read_text(), Loader)
    return read


def test_lmms_eval_by_its_rules(answered: Answered, tmp_path: Path) -> None:
    """Each answer's row goes to every metric that `process_results` names; a metric is the aggregation of its rows."""
    folder = answered.export("lmms_eval", tmp_path / "out")
    task = read_task(folder / "counterset_small.yaml")
    assert task["task"] == "counterset_small"
    assert task["cluster_key"] == "unit"
    rows: dict[str, list[dict[str, Any]]] = {}
    for question in questions_in(folder):
        [photo] = task["doc_to_visual"](question)
        assert photo.mode == "RGB"
        text = task["doc_to_text"](question)
        label = answered.by_picture[digest(photo)]
        [letter] = [line[0] for line in text.splitlines() if line[1:] == f". {label}"]
        assert QUESTION in text
        for metric, row in task["process_results"](question, [f"({letter})"]).items():
            rows.setdefault(metric, []).append(row)
    found = {one["metric"]: one["aggregation"](rows[one["metric"]]) for one in task["metric_list"]}
    assert 0.02 < found.pop("drop_stderr") < 0.3
    assert close(found, answered.figures)
    # The clustered error is of rows that have a score: only those whose figure is a mean over photos.
    assert {metric for metric, of in rows.items() if "score" in of[0]} == {
        "photo_average_common",
        "photo_average_counter",
    }


class Says(BaseHTTPRequestHandler):
    """An OpenAI-compatible server of one model, which looks at the photo and says what the answers say."""

    answered: ClassVar[Answered]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = [part for message in asked["messages"] for part in message["content"]]
        [uri] = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        label = self.answered.nearest(read_uri(uri))
        [letter] = [line[0] for line in text.splitlines() if line[1:] == f". {label}"]
        message = {"role": "assistant", "content": f"Answer: {letter}"}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": asked["model"]}
        answer["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def saying(answered: Answered, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The base URL of a model that says what the answers say."""
    monkeypatch.setattr(Says, "answered", answered, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Says)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def harnessed(folder: Path, *command: str, **environment: str) -> None:
    """Run a harness as a process of its own, without the network."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "OPENAI_API_KEY": "none"} | environment
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | offline,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.skipif(importlib.util.find_spec("lmms_eval") is None, reason="lmms-eval is not installed")
def test_lmms_eval_itself(answered: Answered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = answered.export("lmms_eval", tmp_path / "out")
    with saying(answered, monkeypatch) as url:
        command = ["-m", "lmms_eval", "--model", "openai", "--include_path", str(folder)]
        command += ["--model_args", f"model=mine,base_url={url},api_key=none,num_concurrent=2,timeout=60"]
        harnessed(tmp_path, *command, "--tasks", "counterset_small", "--output_path", str(tmp_path / "said"))
    [path] = (tmp_path / "said").rglob("*_results.json")
    said = json.loads(path.read_text())["results"]["counterset_small"]
    assert close({name: said[f"{name},none"] for name in answered.figures}, answered.figures)
    # Clustered by unit: here each photo is its own, so it is the plain error.
    assert 0.02 < said["photo_average_counter_stderr_clustered,none"] < 0.2


def test_vlmevalkit_by_its_rules(answered: Answered, tmp_path: Path) -> None:
    """A table of lettered columns whose empty cells are no options; accuracy by `split`, and by `category` in it."""
    import pandas as pd

    folder = answered.export("vlmevalkit", tmp_path / "out")
    table = pd.read_csv(folder / "counterset_small.tsv", sep="\t")
    assert table["index"].tolist() == list(range(len(table)))
    hits = []
    for row in table.to_dict("records"):
        image = Image.open(io.BytesIO(base64.b64decode(row["image"])))
        shown = {letter: row[letter] for letter in LETTERS if letter in row and not pd.isna(row[letter])}
        label = answered.by_picture[digest(image)]
        [chosen] = [letter for letter, option in shown.items() if option == label]
        hits.append(chosen == row["answer"])
    table["hit"] = hits
    overall = table.groupby("split")["hit"].mean().to_dict()
    balanced = table.groupby(["split", "category"])["hit"].mean().groupby("split").mean().to_dict()
    found = {f"photo_average_{split}": value for split, value in overall.items()}
    found |= balanced | {"drop": balanced["common"] - balanced["counter"]}
    assert close(found, answered.figures)


def vlmevalkit() -> Path | None:
    """VLMEvalKit's own `run.py`, beside its package in a checkout of it."""
    spec = importlib.util.find_spec("vlmeval")
    path = Path(spec.origin).parents[1] / "run.py" if spec and spec.origin else None
    return path if path and path.is_file() else None


@pytest.mark.skipif(vlmevalkit() is None, reason="no checkout of VLMEvalKit is installed")
def test_vlmevalkit_itself(answered: Answered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    folder = answered.export("vlmevalkit", tmp_path / "out")
    with saying(answered, monkeypatch) as url:
        command = [str(vlmevalkit()), "--data", "counterset_small", "--model", "mine", "--base-url", url]
        command += ["--judge", "exact_matching", "--api-nproc", "2", "--work-dir", str(tmp_path / "said")]
        harnessed(tmp_path, *command, LMUData=str(folder))
    [path] = (tmp_path / "said" / "mine").glob("T*/mine_counterset_small_acc.csv")
    said = pd.read_csv(path).set_index("split")
    found = {f"photo_average_{split}": value for split, value in said["Overall"].items()}
    found |= said.drop(columns="Overall").mean(axis=1).to_dict()
    found |= {"drop": found["common"] - found["counter"]}
    assert close(found, answered.figures)


def test_vlmevalkit_takes_a_table_of_its_own_rule_by_its_name(answered: Answered, tmp_path: Path) -> None:
    class Named:
        name = "MMBench-like"

        def __getattr__(self, attribute: str) -> Any:
            return getattr(answered.release, attribute)

    [table] = export_table(Named(), tmp_path / "out").path.iterdir()
    assert table.name.startswith("counterset_")
    assert "mmbench" not in table.name.lower()


def test_labels_that_vlmevalkit_cannot_show_are_refused(answered: Answered, tmp_path: Path) -> None:
    names = answered.release.class_names
    empty = {class_id: Candidates((name, "None"), name) for class_id, name in names.items()}
    with pytest.raises(ReleaseError, match="would read the label 'None' as an empty cell"):
        answered.release.export("vlmevalkit", tmp_path / "a", empty)
    many = {class_id: Candidates((name, *map(str, range(25))), name) for class_id, name in names.items()}
    with pytest.raises(ReleaseError, match="letters at most 25 options"):
        answered.release.export("vlmevalkit", tmp_path / "b", many)
    assert answered.release.export("lmms_eval", tmp_path / "c", many).num_photos == len(answered.answers)


@pytest.fixture
def benchmark(answered: Answered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The export of a Hugging Face benchmark, where a data set `user/small` is looked for."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = answered.export("hub_eval", tmp_path / "user" / "small")
    monkeypatch.chdir(tmp_path)
    yield folder


def test_community_evaluations_by_their_rules(answered: Answered, benchmark: Path, tmp_path: Path) -> None:
    """Two tasks; the score of each is the share of right letters, as Inspect's `choice` and `accuracy` give it."""
    import datasets

    stated = yaml.safe_load((benchmark / "eval.yaml").read_text())
    assert stated["evaluation_framework"] == "inspect-ai"
    assert [task["id"] for task in stated["tasks"]] == ["common", "counter"]
    found = {}
    for task in stated["tasks"]:
        fields = task["field_spec"]
        rows = datasets.load_dataset(
            str(benchmark), task["config"], split=task["split"], cache_dir=str(tmp_path / "cache")
        )
        right = []
        for row in rows:
            label = answered.by_picture[digest(read_uri(row[fields["input_image"]]))]
            right.append(LETTERS[row[fields["choices"]].index(label)] == row[fields["target"]])
            assert row["attribution"]
        found[f"photo_average_{task['id']}"] = sum(right) / len(right)
    assert close(found, {name: answered.figures[name] for name in found})
    assert datasets.get_dataset_config_names(str(benchmark)) == ["questions"]


def test_community_evaluations_by_inspect(
    answered: Answered, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("inspect_ai", reason="inspect_ai is not installed")
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda **_: str(benchmark / "eval.yaml"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    found = {}
    for log in inspected(answered, "hf/user/small", tmp_path):
        found[f"photo_average_{log.eval.task.rpartition('/')[2]}"] = log.results.scores[0].metrics["accuracy"].value
    assert close(
        found, {f"photo_average_{side}": answered.figures[f"photo_average_{side}"] for side in ("common", "counter")}
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_clip_benchmark_itself(answered: Answered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `acc1` is our mean over photos, its `mean_per_class_recall` our class-balanced accuracy."""
    builder = pytest.importorskip("clip_benchmark.datasets.builder", reason="CLIP_benchmark is not installed")
    import torch
    from clip_benchmark.metrics import zeroshot_classification

    def accuracy(output: Any, target: Any, topk: tuple[int, ...]) -> list[float]:
        """Its own, without a conversion that NumPy 2.4 refuses."""
        among = output.topk(max(topk)).indices == target[:, None]
        return [among[:, :k].any(dim=1).double().mean().item() for k in topk]

    monkeypatch.setattr(zeroshot_classification, "accuracy", accuracy)
    names = answered.release.class_names
    index = {names[class_id]: label for class_id, label in answered.release.labels.items()}
    folder = answered.export("webdataset", tmp_path / "out")
    one_hot = torch.eye(1000)  # all classes are of ImageNet, so all its names are candidates

    class Model:
        def encode_image(self, images: Any) -> Any:
            return images

        def encode_text(self, texts: Any) -> Any:
            return texts

    def seen(image: Image.Image) -> Any:
        return one_hot[index[answered.by_picture[digest(image)]]]

    def tokens(texts: list[str]) -> Any:
        return one_hot[[read.classes.index(text.removeprefix("A photo of ").removesuffix(".")) for text in texts]]

    found = {}
    for split in ("common", "counter"):
        read = builder.build_dataset(
            dataset_name=f"wds/small-{split}",
            root=str(folder / f"small-{split}"),
            transform=seen,
            split="test",
            task="zeroshot_classification",
        )
        loader = torch.utils.data.DataLoader(read.batched(16), batch_size=None)
        given = zeroshot_classification.evaluate(
            Model(), loader, tokens, read.classes, read.templates, "cpu", amp=False
        )
        found |= {split: given["mean_per_class_recall"], f"photo_average_{split}": given["acc1"]}
    found["drop"] = found["common"] - found["counter"]
    assert close(found, answered.figures)


def test_results_on_the_hub(answered: Answered, tmp_path: Path) -> None:
    """Read back by the hub's own client."""
    hub = pytest.importorskip("huggingface_hub")
    if not hasattr(hub, "parse_eval_result_entries"):
        pytest.skip("this huggingface_hub knows no results")
    [path] = write_results(answered.evaluation.folder, "user/small", tmp_path)
    assert path == tmp_path / "mine" / ".eval_results" / "small.yaml"
    entries = hub.parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert [(one.dataset_id, one.task_id) for one in entries] == [("user/small", "common"), ("user/small", "counter")]
    for one in entries:
        assert one.value == round(answered.figures[f"photo_average_{one.task_id}"], 4)
        assert f"drop {answered.figures['drop']:.4f} (" in one.notes


def test_results_of_another_question_are_refused(answered: Answered, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(answered.evaluation.folder, folder)
    record = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps(record | {"num_labels": 1000}))
    with pytest.raises(ReleaseError, match=r"asked about 1000 labels .* evaluate with --label-space top20"):
        write_results(folder, "user/small", tmp_path)
    with pytest.raises(ReleaseError, match="give USER/NAME"):
        write_results(answered.evaluation.folder, "small", tmp_path)


def test_candidates_are_those_of_an_evaluation(answered: Answered, tmp_path: Path) -> None:
    release = answered.release
    assert read_candidates(answered.evaluation.folder, release) is None, "all classes were asked about"
    folder = tmp_path / "copy"
    shutil.copytree(answered.evaluation.folder, folder)
    record = json.loads((folder / "evaluation.json").read_text())
    names = release.class_names

    def write(**changes: Any) -> None:
        (folder / "evaluation.json").write_text(json.dumps(record | changes))

    short = {class_id: [name, "teapot"] for class_id, name in names.items()}
    write(label_space="top20", candidates=short, truths=names)
    read = read_candidates(folder, release)
    assert read == {class_id: Candidates((name, "teapot"), name) for class_id, name in names.items()}
    write(label_space="top20", candidates=short)
    with pytest.raises(ReleaseError, match=r"holds no short list of candidates .* --label-space top20"):
        read_candidates(folder, release)
    write(release={"name": "other", "version": "1.0.0"})
    with pytest.raises(ReleaseError, match=r"evaluates other 1\.0\.0, not small 1\.0\.0"):
        read_candidates(folder, release)


def test_only_layouts_that_ask_take_candidates(answered: Answered, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'csv' asks no questions.*hub_eval, inspect_ai, lmms_eval, vlmevalkit"):
        answered.release.export("csv", tmp_path / "out", {})
