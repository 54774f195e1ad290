"""Texts to features, each by itself: a text's bits depend on its model and on no other text.

How a product of matrices rounds may depend on its shape, so all texts of one length are computed in batches of one
shape. What else is in a batch, and where in it a text stands, then changes nothing (`are_independent` sees to it), so a
text's features can be kept (`counterset.models.kept_texts`) and used beside others that were computed later.

A causal text transformer reads a text's features at its last token, to which nothing that stands behind gives anything.
Prompts take up about 10 of the 77 places of a CLIP model, and batches are cut behind their texts: that is the same
product of matrices without the rows that nobody reads.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from open_clip import CLIP
from torch.nn import functional

from counterset.models.batches import in_batches
from counterset.models.packed import pack_blocks, read_at
from counterset.models.precision import PROBE_LABELS, Features

REVISION = 1
"""Raised by whoever changes which bits a text has."""
SHORT_TEXTS_PER_BATCH = 32
"""The rate is within 3 % of the best from here on, and few texts leave few places of a batch empty."""
WHOLE_TEXTS_PER_BATCH = 8
"""Of texts that take up all places."""
LENGTHS = 2
"""Texts are computed over a multiple of so many places: fewer and fuller batches for 5 % more places."""

Tokenizer = Callable[[list[str]], torch.Tensor]
logger = logging.getLogger(__name__)


class TextTower(Protocol):
    """What turns texts into features.

    Attributes:
        precision: what it computes in.
    """

    precision: str

    def encode(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length features in float32, in order; each different text is computed once."""


class WholeTexts:
    """A model's own text tower, over all places of its context, in float32."""

    precision = "float32"

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._device = model.logit_scale.device

    def encode(self, texts: Sequence[str]) -> Features:
        """As `TextTower.encode`."""
        different = list(dict.fromkeys(texts))
        tokens = self._tokenizer(different)
        lengths = np.full(len(different), tokens.shape[1])
        return _in_order(texts, different, _by_length(tokens, lengths, WHOLE_TEXTS_PER_BATCH, self._encode))

    def _encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, D)."""
        features: torch.Tensor = self._model.encode_text(tokens.to(self._device), normalize=True)
        return features


class ShortTexts:
    """The text tower of an open_clip `CLIP`, in `dtype`, over the places that texts take up; the model stays as it is.

    Args:
        model: one that `covers` covers.
        tokenizer: its own.
        dtype: what the transformer computes in.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer, dtype: torch.dtype) -> None:
        self.precision = str(dtype).removeprefix("torch.")
        self._model, self._tokenizer, self._dtype = model, tokenizer, dtype
        self._device = model.logit_scale.device
        self._transformer = model.transformer
        if dtype is not torch.float32:
            self._transformer = copy.deepcopy(model.transformer)
            if dtype is torch.bfloat16 and self._device.type == "cpu":
                pack_blocks(self._transformer)
            self._transformer.to(dtype)

    @staticmethod
    def covers(model: Any) -> bool:
        """Whether a model's text features are those of one token of a causal transformer, in open_clip's plain way."""
        return type(model) is CLIP and model.text_pool_type == "argmax" and model.attn_mask is not None

    def encode(self, texts: Sequence[str]) -> Features:
        """As `TextTower.encode`."""
        different = list(dict.fromkeys(texts))
        tokens = self._tokenizer(different)
        ends = tokens.argmax(dim=-1).numpy() + 1  # (U,): the end of a text is the token of the greatest number
        lengths = np.minimum(-(-ends // LENGTHS) * LENGTHS, tokens.shape[1])
        return _in_order(texts, different, _by_length(tokens, lengths, SHORT_TEXTS_PER_BATCH, self._encode))

    def _encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, D)."""
        tokens = tokens.to(self._device)
        model, places = self._model, tokens.shape[1]
        x = (model.token_embedding(tokens) + model.positional_embedding[:places]).to(self._dtype)
        mask = model.attn_mask[:places, :places].to(self._dtype)
        # (B, T, W) -> (B, W) -> (B, D)
        x = model.ln_final(read_at(self._transformer, x, mask, tokens.argmax(dim=-1)).float())
        projection = model.text_projection
        if projection is not None:
            x = projection(x) if isinstance(projection, torch.nn.Linear) else x @ projection
        return functional.normalize(x, dim=-1)


def text_tower(model: Any, tokenizer: Tokenizer) -> TextTower:
    """The text tower of a model in float32."""
    return ShortTexts(model, tokenizer, torch.float32) if ShortTexts.covers(model) else WholeTexts(model, tokenizer)


def are_independent(name: str, tower: TextTower) -> bool:
    """Whether a text has the same bits whichever texts it is computed with and wherever it stands among them.

    So it was on every processor that was tried, but no library promises it; a model that fails is named in the log.
    """
    labels = list(PROBE_LABELS)
    among, reversed_ = tower.encode(labels), tower.encode(labels[::-1])[::-1]
    alone = tower.encode(labels[:1])
    is_fine = np.array_equal(among, reversed_) and np.array_equal(among[:1], alone)
    if not is_fine:
        logger.warning("texts of %s are not kept: here their last bits depend on what is computed beside them", name)
    return is_fine


def _by_length(
    tokens: torch.Tensor,
    lengths: npt.NDArray[np.int64],
    texts_per_batch: int,
    encode: Callable[[torch.Tensor], torch.Tensor],
) -> Features:
    """(U, D) features of (U, T) tokens, in order: batches of one length and one shape, filled up with their own texts.

    Args:
        tokens: of U texts.
        lengths: (U,) the places over which each is computed.
        texts_per_batch: B.
        encode: (B, length) tokens -> (B, D).
    """
    batches: list[npt.NDArray[np.int64]] = []
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        batches += [rows[start : start + texts_per_batch] for start in range(0, len(rows), texts_per_batch)]

    def work(batch: Sequence[npt.NDArray[np.int64]]) -> Features:
        [rows] = batch
        features = encode(tokens[np.resize(rows, texts_per_batch), : lengths[rows[0]]])
        return np.asarray(features[: len(rows)].float().cpu().numpy(), np.float32)

    encoded = np.concatenate(in_batches(batches, 1, work))
    features = np.empty_like(encoded)
    features[np.concatenate(batches)] = encoded
    return features


def _in_order(texts: Sequence[str], different: Sequence[str], features: Features) -> Features:
    """(N, D) of the texts, of (U, D) of the different ones."""
    position = {text: number for number, text in enumerate(different)}
    return np.asarray(features[[position[text] for text in texts]], np.float32)
