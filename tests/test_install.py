"""The traps of the stack, each cured: prefect and img2dataset live in one plain install."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

SITE = sysconfig.get_path("purelib")


def run(code: str, *options: str) -> str:
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_dataclasses_backport_is_there_and_harmless() -> None:
    # img2dataset brings it; prefect starts its server with site-packages first on the path.
    assert (Path(SITE) / "dataclasses.py").is_file()
    code = f"import sys; sys.path.insert(0, {SITE!r}); import dataclasses; print(dataclasses.__file__)"
    assert run(code) != str(Path(SITE) / "dataclasses.py")
    without_site = f"import sys; sys.path.insert(0, {SITE!r}); import dataclasses; print(dataclasses.__file__)"
    assert run(without_site, "-S") == str(Path(SITE) / "dataclasses.py")  # what would happen without the cure


def test_the_cure_is_in_the_installed_package() -> None:
    assert (Path(SITE) / "counterset-dataclasses.pth").read_text().strip() == "import dataclasses"


def test_prefect_is_prepared_before_it_is_imported() -> None:
    code = (
        "import os, sys, counterset_flows; assert 'prefect' not in sys.modules; "
        "print(os.environ['PREFECT_SERVER_ANALYTICS_ENABLED'], os.environ['HF_HUB_DISABLE_TELEMETRY'])"
    )
    assert run(code) == "false 1"


def test_models_are_imported_without_wandb_which_others_may_import() -> None:
    code = (
        "import sys; from importlib.util import find_spec; from counterset.cli.flows import import_models; "
        "import_models(); print('wandb' in sys.modules, find_spec('wandb') is not None)"
    )
    assert run(code) == "False True"


def test_what_compares_vectors_imports_nothing_for_models() -> None:
    """They take two thirds of such a command's start."""
    code = "import sys, counterset_flows.audit, counterset_flows.prune; print('open_clip' in sys.modules)"
    assert run(code) == "False"


def test_importing_counterset_is_light() -> None:
    code = (
        "import sys, counterset; "
        "print(sorted({'torch', 'prefect', 'open_clip', 'matplotlib', 'scipy', 'faiss'} & set(sys.modules)))"
    )
    assert run(code) == "[]"
