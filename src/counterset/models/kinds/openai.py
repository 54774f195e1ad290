"""`openai:BASE_URL#NAME`: a model behind an OpenAI-compatible endpoint, asked to choose among lettered options."""

from __future__ import annotations

from counterset.models.chat_completions import ChatModel
from counterset.models.precision import Backend


def open_model(name: str, backend: Backend) -> ChatModel:
    """The model behind the endpoint."""
    return ChatModel(name, is_open=False)
