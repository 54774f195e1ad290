"""How a command runs a flow: what is slow starts side by side, bars show progress, nothing stays behind."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any


def import_models(package: str = "open_clip") -> None:
    """Import open_clip, and with it PyTorch and transformers, in less time than by the first use of them.

    What has its vectors and runs no model is content with the package `torch`, in a third of that time.

    They make a million objects that stay for good. Each search for garbage among them, while they are imported, at
    work and at the exit, takes a second or more, so they are left out of it.
    """
    # The hub's own lines about each retry would bury the one sentence that says what is wrong.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    gc.disable()
    # timm looks for it, and does without; it takes a tenth of these imports.
    sys.modules.setdefault("wandb", None)  # type: ignore[arg-type]
    importlib.import_module(package)
    if sys.modules["wandb"] is None:
        del sys.modules["wandb"]
    if "duckdb" not in sys.modules:  # it takes its own objects that are left out for leaks, and says so at the exit
        gc.freeze()
    gc.enable()


def progress_bars() -> Any:
    """A rich Progress on stderr, of what is done of how much, and the time it took and will take.

    A task's field `note` says what else there is to say.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        # By default they are drawn ten times per second, also where no terminal shows them.
        auto_refresh=console.is_terminal,
        refresh_per_second=4,
    )


@contextlib.contextmanager
def model_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar per model, made at the first call with the model, what is done and what is wanted."""
    with progress_bars() as bars:
        tasks: dict[str, Any] = {}

        def say(model: str, done: int, total: int) -> None:
            if model not in tasks:
                tasks[model] = bars.add_task(model, total=total, note="")
            bars.update(tasks[model], completed=done, total=total)

        yield say


def run_flow(prepare: Callable[[], Callable[..., Any]], log_json: bool = False, package: str = "open_clip") -> Any:
    """Run a flow; what it gives.

    Args:
        prepare: imports the flow, and gives it with its arguments, ready to be called.
        log_json: print no bars, which would tear the lines of the log.
        package: what its models need, as for `import_models`.
    """
    # Prefect's own console lines would tear the bars; its record of the run is kept all the same.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    from rich.console import Console

    console = Console(stderr=True, quiet=log_json)
    with contextlib.ExitStack() as stack:
        with console.status("starting"):
            from counterset_flows import surroundings

            from counterset.steps.progress import BarProgress

            wait = stack.enter_context(surroundings.prepared())
            import_models(package)
            run = prepare()
            wait()
        if not log_json:
            bars = stack.enter_context(progress_bars())
            return run(progress=BarProgress(bars))
        return run()
