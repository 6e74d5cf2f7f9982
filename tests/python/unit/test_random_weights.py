"""Models whose weights are drawn, where there are none to download."""

from __future__ import annotations

import pytest
import torch

from trtfast.cli.models import give_values


def given() -> dict[str, torch.Tensor]:
    """Give values to a module, and see that nobody else's numbers change."""
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.AdaptiveAvgPool2d(1)]
    module = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(8, 5)).eval()
    for values in module.parameters():
        torch.nn.init.constant_(values, 0.1)
    before = torch.get_rng_state()
    give_values(module, 16)
    assert torch.equal(torch.get_rng_state(), before)
    return module.state_dict()


def test_they_are_the_same_on_a_machine_with_two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = given()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    torch.manual_seed(7)
    for (name, found), values in zip(given().items(), wanted.values(), strict=True):
        assert torch.equal(found, values), name
