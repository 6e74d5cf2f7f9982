"""The models of a server, as KServe's endpoints ask for them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from kserve import ModelRepository
from kserve.errors import ModelNotFound, ModelNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from .. import _core
from ..errors import InputError
from .model import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..counts import Counts
    from .model import ServedModel

__all__ = ["Models", "Plane"]

logger = logging.getLogger("trtfast")

_EXTENSIONS = ["binary_tensor_data", "classification", "model_repository"]


class Plane(DataPlane):
    """KServe's, which knows whether the server drains, and opens no model for a request."""

    def __init__(self, models: Iterable[ServedModel]) -> None:
        repository = ModelRepository()
        for model in models:
            repository.update(model)
        super().__init__(repository)
        self.draining = False

    @property
    def models(self) -> Mapping[str, ServedModel]:
        """All, by name."""
        known: Mapping[str, ServedModel] = self.model_registry.get_models()
        return known

    def metadata(self) -> dict[str, Any]:
        """Describe the server."""
        return {"name": "trtfast", "version": _core.__version__, "extensions": _EXTENSIONS}

    async def ready(self) -> bool:
        """Whether all models are ready, and the server is not about to end."""
        return not self.draining and all(model.ready for model in self.models.values())

    async def get_model(self, name: str) -> ServedModel:
        """Return a model that is ready."""
        model: ServedModel = self.get_model_from_registry(name)
        if not model.ready:
            raise ModelNotReady(name)
        return model

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        """Describe a model that is ready."""
        await self.get_model(model_name)
        told: dict[str, Any] = await super().model_metadata(model_name)
        return told | {"platform": "trtfast", "versions": [VERSION]}

    def counts(self) -> dict[tuple[str, str], Counts]:
        """Return what was counted, by model and version."""
        return {(name, VERSION): model.counts() for name, model in self.models.items()}


class Models(ModelRepositoryExtension):
    """Loads a model's file again, beside the engine that serves, or ends it."""

    def __init__(self, plane: Plane) -> None:
        super().__init__(plane.model_registry)
        self._plane = plane

    async def load(self, model_name: str, parameters: Iterable[str] = ()) -> None:
        """Read a model's file again; the engine that serves gives way to the new one.

        Raises
        ------
        ModelNotFound
        InputError
            If there are parameters: what is served is chosen where the server is started.
        Error
            If the file cannot be opened; the engine that served still does.
        """
        if given := ", ".join(map(repr, parameters)):
            raise InputError(
                f"load was given {given}: expected none, as it reads again the file that the "
                "server was started with"
            )
        model = self._model(model_name)
        if self._plane.draining:
            raise ModelNotReady(model_name, "The server is about to end.")
        # Whoever asked for it may leave: the swap, once begun, is made.
        await asyncio.shield(model.swap())

    async def unload(self, model_name: str) -> None:
        """Answer a model's requests, and release it; :meth:`load` brings it back."""
        await asyncio.shield(self._model(model_name).end())

    def _model(self, name: str) -> ServedModel:
        if name not in self._plane.models:
            raise ModelNotFound(name)
        return self._plane.models[name]
