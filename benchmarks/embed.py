"""Images a second of the embed path, beside a plain open_clip loop and clip-retrieval's inference.

    python benchmarks/embed.py [--photos 2000] [--rounds 4] [--openvino]
                               [--clip-retrieval PYTHON]   # of an environment that has clip-retrieval
    python benchmarks/embed.py --device cuda               # on a GPU; --device cpu takes its way on the processor

ViT-B/32 of random weights, generated JPEGs of 500 pixels on disk, reading and decoding
included. Each way runs in a process of its own, loads its model, embeds one batch, and then
takes turns with the others (A B C, A B C, ...), a part of the photos each, so that a busy
machine is busy for all. Beside each turn, that process measures the machine's matrix limit
(2048 cubed) in the precision it computes in. Printed are medians over turns. Rates are of
the clock; the share of the limit is by processor time on both sides, which a busy machine
changes less (with OMP_NUM_THREADS=1 least).

The plain loop is what a careful user writes: a DataLoader with two workers, open_clip's
preprocessing, batches of 64, inference mode. clip-retrieval runs its own reader and mapper,
with two workers and batches of 64, all as its command line does.

With `--device`, photos are decoded ahead by other processes, as a build does where there is a
GPU: a worker per processor, batches of 256, pinned memory; the plain loop has as many workers,
pinned memory and autocast to the same 16 bits. The card's limit is that of a product of
matrices measured on it (8192 cubed), and rate and share are of the clock. `--floors NAME` holds
the ratio of processor time, the share and the least cosine to `floors.toml`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from floors import add_floors, hold, peak_mb

ROOT = Path(__file__).resolve().parents[1]
BATCH_SIZE = 64
NUM_WORKERS = 2
SIDE_PX = 500
GFLOP_A_PHOTO = 8.8
"""Multiplications and additions of ViT-B/32's image tower."""


def draw(folder: Path, count: int, num_parts: int) -> None:
    """`count` JPEGs in `num_parts` folders: drawn scenes with fine noise, so that decoding has work to do."""
    import numpy as np
    from PIL import Image

    from counterset.demo.world.photo import draw_photo

    rng = np.random.default_rng(0)
    scenes = [
        np.asarray(draw_photo(animal, background, seed).resize((640, 480), Image.Resampling.BICUBIC), np.int16)
        for seed, (animal, background) in enumerate(
            [("ice_bear", "snow"), ("ice_bear", "grass"), ("lion", "grass"), ("lion", "snow")] * 6
        )
    ]
    for index in range(count):
        top, left = rng.integers(0, (105, 140))
        scene = scenes[index % len(scenes)][top : top + SIDE_PX * 3 // 4, left : left + SIDE_PX]
        noisy = np.clip(scene + rng.integers(-12, 13, scene.shape, np.int16), 0, 255).astype(np.uint8)
        part = folder / f"{index * num_parts // count:02d}"
        part.mkdir(exist_ok=True)
        Image.fromarray(noisy).save(part / f"{index:06d}.jpg", quality=88)


def make_model(folder: Path) -> None:
    """A ViT-B/32 of random weights, in the two layouts that the contestants read."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32", load_weights=False)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    torch.save(weights, folder / "weights.pt")
    config = {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def limit(kind: str, device: str) -> float:
    """GFLOP of a product of matrices, the best of several: per processor second, with a device per second."""
    import torch

    side, clock = (8192, time.perf_counter) if device == "cuda" else (2048, time.process_time)
    clock = time.perf_counter if device else clock
    if kind == "int8":
        left = right = torch.randint(-99, 99, (2048, 2048), dtype=torch.int8)
        multiply: Callable[..., Any] = torch._int_mm
    else:
        left = right = torch.randn(side, side, device=device or "cpu").to(getattr(torch, kind))
        multiply = torch.matmul
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    seconds = []
    for _ in range(8):
        wait()
        started = clock()
        multiply(left, right)
        wait()
        seconds.append(clock() - started)
    return 2 * side**3 / min(seconds) / 1e9


Embed = Callable[[Path], Any]
"""A folder of photos -> (N, D) features, in the order of their names."""


def plain(model_folder: Path, device: str) -> tuple[Embed, str]:
    """The loop as one writes it with open_clip."""
    import open_clip
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from counterset.models.precision import native_half

    model, _, preprocess = open_clip.create_model_and_transforms(
        "ViT-B-32", pretrained=str(model_folder / "weights.pt"), weights_only=True
    )
    model.eval().to(device or "cpu")
    half = native_half() if device else None
    size, workers = batches_of(device)

    class Photos(Dataset[Any]):
        def __init__(self, folder: Path) -> None:
            self.paths = sorted(folder.glob("*.jpg"))

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> Any:
            return preprocess(Image.open(self.paths[index]).convert("RGB"))

    def embed(folder: Path) -> Any:
        loader = DataLoader(Photos(folder), batch_size=size, num_workers=workers, pin_memory=device == "cuda")
        with torch.inference_mode(), torch.autocast(device or "cpu", half, enabled=half is not None):
            parts = [
                model.encode_image(pixels.to(device or "cpu", non_blocking=True), normalize=True) for pixels in loader
            ]
            return torch.cat(parts).float().cpu().numpy()

    return embed, str(half or torch.float32).removeprefix("torch.")


def batches_of(device: str) -> tuple[int, int]:
    """Photos in a batch, and processes that decode."""
    return (256, max(len(os.sched_getaffinity(0)), 1)) if device else (BATCH_SIZE, NUM_WORKERS)


def counterset(model_folder: Path, device: str, backend: str = "torch") -> tuple[Embed, str]:
    """The build's own path."""
    from counterset.models.open_clip_encoder import load_encoder

    encoder = load_encoder(f"local-dir:{model_folder}", backend)  # type: ignore[arg-type]

    size, _ = batches_of(device)

    def embed(folder: Path) -> Any:
        photos = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
        return encoder.encode_ahead(photos, size) if device else encoder.encode_images(photos, size)

    return embed, encoder.precision


def clip_retrieval(model_folder: Path, device: str) -> tuple[Embed, str]:
    """clip-retrieval's reader and mapper, the loop of its runner."""
    import numpy as np
    from all_clip import load_clip
    from clip_retrieval.clip_inference.mapper import ClipMapper
    from clip_retrieval.clip_inference.reader import FilesReader

    name = f"open_clip:ViT-B-32/{model_folder / 'weights.pt'}"
    _, preprocess, tokenizer = load_clip(clip_model=name, use_jit=False, warmup_batch_size=BATCH_SIZE)
    mapper = ClipMapper(True, False, False, False, name, False, "", warmup_batch_size=BATCH_SIZE)

    def embed(folder: Path) -> Any:
        reader = FilesReader(
            lambda names: names, preprocess, tokenizer, str(folder), BATCH_SIZE, NUM_WORKERS, enable_text=False
        )
        return np.concatenate([mapper(batch)["image_embs"] for batch in reader])

    return embed, "float32"


CONTESTANTS: dict[str, Callable[[Path, str], tuple[Embed, str]]] = {
    "plain": plain,
    "counterset": counterset,
    "openvino": lambda folder, device: counterset(folder, device, "openvino"),
    "clip-retrieval": clip_retrieval,
}


def contestant(name: str, model_folder: Path, warm_up: Path, device: str) -> None:
    """Serve turns: a folder's name in, one line of JSON out."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to standard error
    embed, kind = CONTESTANTS[name](model_folder, device)
    embed(warm_up)
    print(json.dumps({"precision": kind}), file=answers, flush=True)
    import numpy as np

    for line in sys.stdin:
        folder, target = (Path(part) for part in line.strip().split("\t"))
        cpu, started = cpu_seconds(), time.perf_counter()
        features = embed(folder)
        seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
        np.save(target, np.asarray(features, np.float32))
        turn = {
            "photos": len(features),
            "seconds": seconds,
            "cpu": cpu,
            "limit": limit(kind, device),
            "peak_mb": peak_mb(),
        }
        print(json.dumps(turn), file=answers, flush=True)


def cpu_seconds() -> float:
    """Of this process and of its workers that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(work: Path, pythons: dict[str, str], rounds: int, device: str, figures: dict[str, float]) -> Iterator[str]:
    """The table's lines; what floors may be about goes into `figures`."""
    import numpy as np

    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    running: dict[str, subprocess.Popen[str]] = {}
    precisions, turns = {}, {name: list[dict[str, float]]() for name in pythons}
    try:
        for name, python in pythons.items():
            command = [python, "-W", "ignore", __file__, "--contestant", name, str(work), "--device", device]
            running[name] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
            precisions[name] = _answer(running[name])["precision"]
        for turn in range(rounds):
            for name, process in running.items():
                assert process.stdin is not None
                process.stdin.write(f"{work / 'photos' / f'{turn:02d}'}\t{work / f'{name}-{turn}.npy'}\n")
                process.stdin.flush()
                turns[name].append(_answer(process))
                print(f"turn {turn + 1} of {rounds}: {name} {json.dumps(turns[name][-1])}", file=sys.stderr)
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    shares = f"share of limit (GFLOP/{'s' if device else 'CPU s'})"
    yield f"| way | computes in | photos/s | ratio | CPU ms | ratio | {shares} | peak MB | cosine |"
    yield "|---|---|---|---|---|---|---|---|---|"
    base = turns["plain"]
    for name, own in turns.items():
        rates = [turn["photos"] / turn["seconds"] for turn in own]
        ratio = statistics.median(
            rate / (other["photos"] / other["seconds"]) for rate, other in zip(rates, base, strict=True)
        )
        cpu = [1e3 * turn["cpu"] / turn["photos"] for turn in own]
        cpu_ratio = statistics.median(
            1e3 * other["cpu"] / other["photos"] / mine for mine, other in zip(cpu, base, strict=True)
        )
        best = max(turn["limit"] for turn in own)
        share = GFLOP_A_PHOTO * (statistics.median(rates) if device else 1e3 / statistics.median(cpu)) / best
        least = min(
            float(np.sum(unit(work / f"{name}-{turn}.npy") * unit(work / f"plain-{turn}.npy"), axis=1).min())
            for turn in range(rounds)
        )
        figures |= {f"{name}_of_plain": cpu_ratio, f"{name}_share": share, f"{name}_cosine": least}
        yield (
            f"| {name} | {precisions[name]} | {statistics.median(rates):.1f} | {ratio:.2f} "
            f"| {statistics.median(cpu):.1f} | {cpu_ratio:.2f} | {share:.0%} ({best:.0f}) "
            f"| {max(turn['peak_mb'] for turn in own):.0f} | {least:.5f} |"
        )


def unit(path: Path) -> Any:
    """(N, D) stored features, of length 1: what was normalised in 16 bits is a little off."""
    import numpy as np

    features = np.load(path)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def _answer(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{' '.join(map(str, process.args))} ended early")  # type: ignore[arg-type]
    return json.loads(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--openvino", action="store_true", help="also the int8 encoder, which must be installed")
    parser.add_argument("--clip-retrieval", metavar="PYTHON", help="the python of an environment that has it")
    parser.add_argument("--device", choices=["", "cpu", "cuda"], default="", help="decode ahead, as for a GPU; on this")
    add_floors(parser)
    parser.add_argument("--contestant", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        name, work = options.contestant[0], Path(options.contestant[1])
        contestant(name, work / "model", work / "warm_up", options.device)
        return
    pythons = {"plain": sys.executable, "counterset": sys.executable}
    if options.openvino:
        pythons["openvino"] = sys.executable
    if options.clip_retrieval:
        pythons["clip-retrieval"] = options.clip_retrieval
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in ("photos", "warm_up", "model"):
            (work / name).mkdir()
        draw(work / "photos", options.photos, options.rounds)
        draw(work / "warm_up", BATCH_SIZE, 1)
        for path in (work / "warm_up" / "00").iterdir():
            path.rename(work / "warm_up" / path.name)
        make_model(work / "model")
        print(f"load of the machine before: {os.getloadavg()[0]:.1f}", file=sys.stderr)
        figures: dict[str, float] = {}
        for line in measure(work, pythons, options.rounds, options.device, figures):
            print(line)
        print(f"load of the machine after: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    hold(options.floors, figures)


if __name__ == "__main__":
    main()
