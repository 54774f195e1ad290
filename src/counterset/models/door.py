"""The one door to a model: from its name, whatever kind it is, to what it makes of photos and labels.

A name begins with its kind (`timm:resnet50`, `local-dir:FOLDER`); one without is open_clip's (`ViT-B-32/openai`,
`ViT-B-32@CHECKPOINT`). A kind is a file in `counterset.models.kinds`, or an entry point of the group
`counterset.models` of another package: the function `open_model(name, backend)`. What is asked about a model by its
name is asked of the model that its kind opens, so nothing else knows the kinds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from counterset.errors import ExtensionError, ModelError
from counterset.models.kinds import KINDS
from counterset.workspace import digest

if TYPE_CHECKING:
    from counterset.models.labels import LabelSpace
    from counterset.models.precision import Backend

WITHOUT_PREFIX = "open_clip"
Floats32 = npt.NDArray[np.float32]


class Model(Protocol):
    """What every model gives. Its weights are read when they are first needed, not when it is opened.

    A model may say more of where it comes from, each without its weights: `origin`, `trained_on`, `cached` and
    `weight_files`, as the functions of these names below give them.

    Attributes:
        name: as it was asked for.
        family: CLIP, ImageNet, or what else its line in a report is to be called.
        weights_sha256: of its weights; "" where they cannot be hashed.
        features_id: names all that decides its vectors: weights, architecture, preprocessing, precision, packages.
        embedding_dim: D of its vectors.
    """

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def weights_sha256(self) -> str: ...
    @property
    def features_id(self) -> str: ...
    @property
    def embedding_dim(self) -> int: ...

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> Floats32:
        """(N, D) vectors of encoded photos, in order."""
        ...


class TextModel(Model, Protocol):
    """A model that compares photos with any text; its vectors are of unit length.

    It may say by `texts_are_independent = True` that a text has the same bits whichever texts it is encoded with.
    Builds keep the texts of such a model and encode none of them twice.

    Attributes:
        texts_id: names all that decides its text features.
    """

    @property
    def texts_id(self) -> str: ...

    def encode_texts(self, texts: Sequence[str]) -> Floats32:
        """(N, D) unit-length vectors of texts, in order."""
        ...


class Reply(NamedTuple):
    """What a model said of one photo.

    Attributes:
        text: of the answer; "" = it said nothing.
        is_refusal: the model, or what stands before it, says that it will not answer.
        is_cut: the answer ends where the number of tokens ran out.
        tokens_in, tokens_out: of the question and of the answer; None = not told.
        served: the model that answered, in its server's words.
    """

    text: str
    is_refusal: bool = False
    is_cut: bool = False
    tokens_in: int | None = None
    tokens_out: int | None = None
    served: str = ""


class NoReply(Exception):
    """A question brought no reply; the text says why.

    Attributes:
        is_of_all: no other question will bring one either.
        may_pass: this question may bring one later.
        may_be_photo: though it may pass, the photo itself may be why, and then it never does.
    """

    def __init__(
        self, why: str, *, is_of_all: bool = False, may_pass: bool = False, may_be_photo: bool = False
    ) -> None:
        super().__init__(why)
        self.is_of_all = is_of_all
        self.may_pass = may_pass
        self.may_be_photo = may_be_photo


class Answerer(Protocol):
    """A model that is asked about one photo after the other in words. It has no vectors, so it cannot make a release.

    Attributes:
        name: as it was asked for.
        family: as `Model.family`.
        answers_id: names all of how it is asked that may change an answer, the question apart.
        is_open: it is asked what a photo shows, without options.
    """

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def answers_id(self) -> str: ...
    @property
    def is_open(self) -> bool: ...

    def ask(self, question: str, jpeg: bytes | None) -> Reply:
        """What it says, about a photo or without one; called from several threads at once.

        Raises:
            NoReply: it says nothing, after all tries.
        """
        ...


class FixedClasses(Model, Protocol):
    """A model that knows its own classes only."""

    def check_labels(self, space: LabelSpace) -> None:
        """See, without its weights, that it can answer a label space.

        Raises:
            ModelError: a label is none of its classes.
        """
        ...

    def label_rows(self, space: LabelSpace) -> Floats32:
        """(C, D) rows, one per label: a photo's score for a label is the product of their vectors."""
        ...


def open_model(name: str, backend: Backend = "torch") -> Any:
    """The model of a name: a `TextModel` or one of `FixedClasses`. Nothing of it is fetched or read yet.

    Args:
        name: as in a config.
        backend: what computes image features, as `models.backend`; kinds that know one way only take any.

    Raises:
        ModelError: no kind of model has such names, or the model is an `Answerer`.
        ExtensionError: it is of a package that cannot be loaded.
    """
    model = _opened(name, backend)
    if _is_answerer(model):
        raise ModelError(
            f"the model {name!r} answers questions and has no vectors; give it to `counterset evaluate`, and here "
            "a model that has, e.g. ViT-B-32/openai"
        )
    return model


def open_answerer(name: str) -> Answerer | None:
    """The model of a name if it is asked in words; None for any other.

    Raises:
        ModelError: no kind of model has such names, or its address or key cannot be used.
        ExtensionError: it is of a package that cannot be loaded.
    """
    model = _opened(name, "torch")
    return model if _is_answerer(model) else None


def _opened(name: str, backend: Backend) -> Any:
    return KINDS[kind_of(name)](name, backend)


def _is_answerer(model: Any) -> TypeGuard[Answerer]:
    return hasattr(model, "ask")


def open_text_model(name: str, backend: Backend = "torch") -> TextModel:
    """As `open_model`, for what needs texts: annotators, selectors, audits.

    Raises:
        ModelError: the model knows fixed classes only.
    """
    model = open_model(name, backend)
    if not reads_texts(model):
        raise ModelError(
            f"the model {name!r} knows fixed classes only and can be an evaluator, not an annotator or selector, nor "
            "compare photos; give an image-text model, e.g. ViT-B-32/openai"
        )
    return model


def reads_texts(model: Model) -> TypeGuard[TextModel]:
    """Whether a model compares photos with any text."""
    return hasattr(model, "encode_texts")


def kind_of(name: str) -> str:
    """The kind of a name, as `KINDS` has it.

    Raises:
        ModelError: there is none.
    """
    prefix, colon, _ = name.partition(":")
    kind = prefix.replace("-", "_")
    if not colon or not re.fullmatch(r"[A-Za-z][\w-]*", prefix):
        return WITHOUT_PREFIX
    if kind not in KINDS or kind == WITHOUT_PREFIX:
        raise ModelError(
            f"no kind of model begins with {prefix!r} as {name!r} does; begin it with {', '.join(prefixes())}, "
            "or give a MODEL/TAG of open_clip, e.g. ViT-B-32/openai"
        )
    return kind


def prefixes() -> list[str]:
    """What names may begin with, colons included."""
    return [f"{kind.replace('_', '-')}:" for kind in KINDS if kind != WITHOUT_PREFIX]


def identity(model: Model) -> str:
    """What keys hold of a model's vectors: its `features_id`, and the version of the package that brings its kind."""
    version = KINDS.version(kind_of(model.name))
    return digest(model.features_id, version) if version else model.features_id


def origin(name: str) -> str:
    """Where a model's weights come from: a path, a hub's repository or an address; its name where that is not known.

    Two names of one origin are one model.
    """
    return str(_said(name, "origin", name))


def trained_on(name: str) -> frozenset[str]:
    """The data sets that a model was trained on, as far as known; empty = unknown."""
    return frozenset(_said(name, "trained_on", ()))


def cached_weights(name: str) -> Path | None:
    """A file of a model's weights on this machine, or None."""
    path: Path | None = _said(name, "cached", None)
    return path


def weight_files(name: str) -> list[Path]:
    """The files of a model's weights, fetched unless they are on this machine; empty where its kind has none to show.

    Raises:
        ModelError: they cannot be fetched.
    """
    return list(getattr(open_model(name), "weight_files", ()))


def _said(name: str, what: str, otherwise: Any) -> Any:
    """What the model of a name says of itself; `otherwise` where it does not, or its kind is not installed.

    A release names the models that made it, which this machine need not have.
    """
    try:
        return getattr(open_model(name), what, otherwise)
    except (ModelError, ExtensionError):
        return otherwise
