"""Texts to features in a large model's own numbers, over no more places than the texts take up.

A causal text transformer reads a text's features at its last token, to which nothing that stands behind gives anything.
Prompts take up about 10 of the 77 places of a CLIP model, so batches are of texts of like length and are cut behind the
longest: that is the same product of matrices without the rows that nobody reads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from open_clip import CLIP
from torch.nn import functional

from counterset.models.batches import in_batches
from counterset.models.precision import Features

TEXTS_PER_BATCH = 256


class ShortTexts:
    """The text tower of an open_clip `CLIP`, in `dtype`; the model itself stays as it is.

    Args:
        model: one that `covers` covers.
        tokenizer: its own.
        dtype: what the transformer computes in.

    Attributes:
        precision: the same by name.
    """

    def __init__(self, model: Any, tokenizer: Callable[[list[str]], torch.Tensor], dtype: torch.dtype) -> None:
        self.precision = str(dtype).removeprefix("torch.")
        self._model, self._tokenizer, self._dtype = model, tokenizer, dtype
        self._transformer = copy.deepcopy(model.transformer).to(dtype)
        self._device = model.logit_scale.device

    @staticmethod
    def covers(model: Any) -> bool:
        """Whether a model's text features are those of one token of a causal transformer, in open_clip's plain way."""
        return type(model) is CLIP and model.text_pool_type == "argmax" and model.attn_mask is not None

    def encode(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length features in float32, in order; each text is computed once."""
        different = list(dict.fromkeys(texts))
        tokens = self._tokenizer(different)
        lengths = tokens.argmax(dim=-1) + 1  # (U,): the end of a text is the token of the greatest number
        order = np.lexsort((np.arange(len(different)), lengths.numpy()))

        def encode(rows: Sequence[int]) -> Features:
            places = int(lengths[list(rows)].max())
            features: Features = self._encode(tokens[list(rows), :places].to(self._device)).cpu().numpy()
            return features

        encoded = np.concatenate(in_batches(order.tolist(), TEXTS_PER_BATCH, encode))
        features = np.empty_like(encoded)
        features[order] = encoded
        position = {text: number for number, text in enumerate(different)}
        chosen: Features = features[[position[text] for text in texts]]
        return chosen

    def _encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, D)."""
        model, places = self._model, tokens.shape[1]
        x = (model.token_embedding(tokens) + model.positional_embedding[:places]).to(self._dtype)
        x = self._transformer(x, attn_mask=model.attn_mask[:places, :places].to(self._dtype)).float()
        # (B, T, W) -> (B, W) -> (B, D)
        x = model.ln_final(x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)])
        projection = model.text_projection
        if projection is not None:
            x = projection(x) if isinstance(projection, torch.nn.Linear) else x @ projection
        return functional.normalize(x, dim=-1)
