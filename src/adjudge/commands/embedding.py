"""The options that name a server of embeddings. The server's client is imported when one is named."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from adjudge.errors import ConfigError

if TYPE_CHECKING:
    from adjudge.routing.features import Embedder

F = TypeVar("F", bound=Callable[..., Any])


def with_embedder(function: F) -> F:
    """The options that name a server of embeddings."""
    for decorate in (
        click.option("--embed-url", metavar="URL", help="An OpenAI-compatible server of embeddings, up to /v1."),
        click.option(
            "--embed-model", metavar="NAME", help="Its model. Without one texts are described by plain measures."
        ),
        click.option("--embed-key-env", metavar="VAR", default="", help="The variable that holds its key."),
    ):
        function = decorate(function)
    return function


def open_embedder(url: str | None, model: str | None, key_env: str) -> "Embedder | None":
    """The embedder, None where none is named. Raises ConfigError where only half of it is."""
    if url is None and model is None:
        return None
    if url is None or model is None:
        raise ConfigError("--embed-url and --embed-model go together; give both")
    from adjudge.routing.embedding import EmbeddingServer, ServerEmbedder

    return ServerEmbedder(EmbeddingServer(url=url, model=model, api_key_env=key_env))
