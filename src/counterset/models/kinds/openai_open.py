"""`openai-open:BASE_URL#NAME`: the same model, asked what a photo shows without being told any options."""

from __future__ import annotations

from counterset.models.chat_completions import ChatModel
from counterset.models.precision import Backend


def open_model(name: str, backend: Backend) -> ChatModel:
    """The model behind the endpoint."""
    return ChatModel(name, is_open=True)
