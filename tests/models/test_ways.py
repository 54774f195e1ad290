"""Machines whose processors differ compute large models in one way, which is part of what names the features."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from counterset.config import load_config
from counterset.errors import ModelError
from counterset.machine import ways as machine_ways
from counterset.machine.ways import ISA_LIMIT, agree_on, check_way, device, way, way_of_all, ways
from counterset.models import open_clip_encoder
from counterset.models.held import let_go
from counterset.models.open_clip_encoder import features_id, load_encoder, texts_id
from counterset.models.precision import native_half
from counterset.steps.keys import Build

from ..flows.small_build import SMALL_BUILD

AMX, OLDER, PLAIN = {"avx512_bf16", "amx_bf16", "sse"}, {"avx512_bf16", "sse"}, {"sse"}
MODEL = "demo:selector"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has agreed on nothing, on a machine without a GPU; a small model passes for a large one."""
    monkeypatch.setenv(ISA_LIMIT, "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(open_clip_encoder, "LARGE_BYTES", 0)
    agree_on(None)
    yield
    agree_on(None)
    let_go()


def on(monkeypatch: pytest.MonkeyPatch, flags: set[str]) -> None:
    """Be a machine of another processor."""
    monkeypatch.setattr(machine_ways, "_cpu_flags", lambda: set(flags))


@pytest.mark.parametrize(
    ("machines", "expected"),
    [
        ([AMX, AMX], "amx_bf16"),
        ([AMX, OLDER], "avx512_bf16"),
        ([AMX, OLDER, PLAIN], ""),
        ([{"bf16"}, {"bf16"}], "bf16"),
        ([{"bf16"}, OLDER], ""),
    ],
)
def test_unlike_machines_take_the_best_way_that_all_have(
    monkeypatch: pytest.MonkeyPatch, machines: list[set[str]], expected: str
) -> None:
    told = []
    for flags in machines:
        on(monkeypatch, flags)
        told.append(ways())
    assert way_of_all(told) == expected
    ids = set()
    for flags in machines:
        on(monkeypatch, flags)
        monkeypatch.setenv(ISA_LIMIT, "")
        agree_on(expected)
        check_way()
        ids.add((features_id(MODEL), texts_id(MODEL), native_half()))
    assert len(ids) == 1, "features have one name on all machines"


def test_each_way_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for flags in (AMX, OLDER, PLAIN):
        on(monkeypatch, flags)
        found.add((features_id(MODEL), texts_id(MODEL)))
    assert len({features for features, _ in found}) == len({texts for _, texts in found}) == 3


def test_a_newer_processor_leaves_alone_what_others_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, AMX)
    assert way() == "amx_bf16" and not os.environ[ISA_LIMIT]
    agree_on("avx512_bf16")
    assert os.environ[ISA_LIMIT] == "AVX512_CORE_BF16"
    assert way() == "avx512_bf16" and ways() == {"avx512_bf16"}


def test_a_machine_that_lacks_the_way_computes_nothing_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, PLAIN)
    agree_on("amx_bf16")
    assert "-bfloat16-amx" in features_id(MODEL), "it may name what others compute"
    with pytest.raises(ModelError, match=r"large models in amx_bf16, which \S+ does not have; take it out"):
        load_encoder(MODEL)


def test_a_gpu_is_used_where_all_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, OLDER)
    here = ways()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert ways() == {"cuda-float16", "avx512_bf16"}
    assert (device(), native_half()) == ("cuda", torch.float16)
    agree_on(way_of_all([ways(), here]))
    assert (device(), native_half()) == ("cpu", torch.bfloat16)


def test_a_build_takes_its_way_to_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "a.toml"
    head = 'name = "a-build"\nworkspace = "workspace"\nreleases = "releases"\n'
    config.write_text(head + SMALL_BUILD.format(url="http://127.0.0.1:1"))
    on(monkeypatch, AMX)
    agree_on("avx512_bf16")
    build = Build(load_config(config))
    named, sent = build.embed_key(MODEL), pickle.dumps(build)
    agree_on(None)
    on(monkeypatch, OLDER)
    assert pickle.loads(sent).embed_key(MODEL) == named and way() == "avx512_bf16"


PRODUCT = """
import sys
import zlib
import torch
from counterset.machine.ways import agree_on
agree_on(sys.argv[1])
torch.set_num_threads(1)
left = torch.randn(512, 3072, generator=torch.Generator().manual_seed(0)).bfloat16()
print(zlib.crc32((left @ left.T).float().numpy()))
"""


@pytest.mark.skipif("amx_bf16" not in ways(), reason="this processor has no AMX")
def test_without_amx_numbers_are_those_of_older_processors() -> None:
    def product(agreed: str, limit: str = "") -> str:
        environment = {**os.environ, ISA_LIMIT: limit}
        command = [sys.executable, "-c", PRODUCT, agreed]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert product("avx512_bf16") == product("avx512_bf16", "AVX512_CORE_BF16") != product("amx_bf16")
