"""How machines multiply 16-bit numbers: all machines of a build go one way, so that their features are the same."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from counterset.errors import ModelError

ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
"""The variable by which oneDNN, which multiplies for PyTorch, is told to leave newer instructions alone."""
WAYS = ("cuda-bfloat16", "cuda-float16", "amx_bf16", "avx512_bf16", "bf16")
"""Ways to multiply 16-bit numbers natively, the best first: those of a GPU, and a processor's by Linux's names."""

_agreed: str | None = None


def ways() -> frozenset[str]:
    """Those of `WAYS` that this machine has."""
    own = _cpu_flags() & set(WAYS)
    limit = os.environ.get(ISA_LIMIT, "").upper()
    if limit and "AMX" not in limit and limit not in ("ALL", "DEFAULT"):
        own.discard("amx_bf16")
    if _has_gpu():
        import torch  # seconds, which not everybody who reads this module has to wait

        is_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        own.add("cuda-bfloat16" if is_bfloat16 else "cuda-float16")
    return frozenset(own)


def way_of_all(machines: Iterable[frozenset[str]]) -> str:
    """The best way that all of some machines have, at least one machine; "" = float32 is all they have."""
    shared = frozenset.intersection(*machines)
    return next((way for way in WAYS if way in shared), "")


def way() -> str:
    """How this process multiplies 16-bit numbers: as was agreed, or the best that the machine has; "" = not at all."""
    return way_of_all([ways()]) if _agreed is None else _agreed


def agree_on(agreed: str | None) -> None:
    """Have this process go the way that all machines of a build go: one of `WAYS`, "", or None for the machine's own.

    A process that only names features, and computes none, may go a way that its machine does not have.
    """
    global _agreed
    if agreed == "avx512_bf16" and "amx_bf16" in ways():
        os.environ[ISA_LIMIT] = "AVX512_CORE_BF16"  # oneDNN reads it with its first product
    _agreed = agreed


def check_way() -> None:
    """See that this machine has the way that was agreed on, before something is computed.

    Raises:
        ModelError: it has not.
    """
    if _agreed and _agreed not in ways():
        raise ModelError(
            f"the machines of this build compute large models in {_agreed}, which {platform.node()} does not have; "
            "take it out of the cluster, or start the build again, which then takes a way that all have"
        )


def way_suffix() -> str:
    """What ends the ids of features in 16 bits: AMX adds in another order than the instructions before it."""
    return "-amx" if way() == "amx_bf16" else ""


def device() -> str:
    """Where models are computed: cuda or cpu."""
    if _agreed is None:
        return "cuda" if _has_gpu() else "cpu"
    return "cuda" if _agreed.startswith("cuda-") else "cpu"


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _cpu_flags() -> set[str]:
    """The processor's features as Linux names them (`bf16` is ARM's); none elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    lines = [line.partition(":")[2] for line in text.splitlines() if line.startswith(("flags", "Features"))]
    return set(lines[0].split()) if lines else set()
