"""`demo:NAME`: one of the demo's own: annotator, selector, weak, medium, plain (a classifier)."""

from __future__ import annotations

from counterset.errors import ModelError
from counterset.models.fixed_classes import FolderOfClassifier
from counterset.models.image_text import FolderModel
from counterset.models.open_clip_encoder import DEMO_WEIGHTS
from counterset.models.precision import Backend


def open_model(name: str, backend: Backend) -> FolderModel | FolderOfClassifier:
    """The demo's classifier, or one of its image-text models.

    Raises:
        ModelError: the demo has no such model.
    """
    folder = DEMO_WEIGHTS / name.removeprefix("demo:")
    known = sorted(f"demo:{path.name}" for path in DEMO_WEIGHTS.iterdir() if path.is_dir())
    if name not in known:
        raise ModelError(f"the demo has no model {name!r}; give one of {', '.join(known)}")
    is_classifier = (folder / "config.json").is_file()
    return FolderOfClassifier(name, folder) if is_classifier else FolderModel(name, backend, folder)
