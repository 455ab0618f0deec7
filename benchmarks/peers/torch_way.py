# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""PyTorch, channels last, eager or with --compile.

    python -m benchmarks.peers.torch_way --task=step --case=resnet20

Tasks: `step`, the training step on a constant batch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import machine_peak
from benchmarks.cases import Case
from benchmarks.peers import child, torch_networks

DTYPES = {
  "float32": torch.float32,
  "mixed_float16": torch.float16,
  "mixed_bfloat16": torch.bfloat16,
}


def device() -> str:
  """Returns where PyTorch trains."""
  return "cuda" if torch.cuda.is_available() else "cpu"


def network(case: Case) -> nn.Module:
  """Builds the case's network where it is trained, channels last."""
  model = torch_networks.network(case).to(device())
  return model.to(memory_format=torch.channels_last)


def to_device(images: Any, labels: Any) -> tuple[torch.Tensor, torch.Tensor]:
  """Returns NumPy's batch as PyTorch trains on it: [b, c, h, w], int64."""
  pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(device())
  return (
    pixels.contiguous(memory_format=torch.channels_last),
    torch.from_numpy(labels).long().to(device()),
  )


def forward_macs(model: nn.Module, images: torch.Tensor) -> int:
  """Returns the multiply-accumulates of a forward pass over one image."""
  with FlopCounterMode(display=False) as counter, torch.no_grad():
    model(images[:1])
  return counter.get_total_flops() // 2


def count_variables(model: nn.Module) -> int:
  """Returns the number of parameters, BatchNorm's statistics among them."""
  return sum(
    tensor.numel()
    for name, tensor in model.state_dict().items()
    if not name.endswith("num_batches_tracked")
  )


class Step:
  """A training step, with the sums of loss and hits kept on the device."""

  def __init__(
    self,
    model: Callable[[torch.Tensor], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    label_smoothing: float = 0.0,
    precision: str = "float32",
  ) -> None:
    self._model = model
    self._optimizer = optimizer
    self._loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    self._dtype = DTYPES[precision]
    half = precision == "mixed_float16"
    self._scaler = torch.amp.GradScaler(device(), enabled=half)
    self.loss = torch.zeros((), device=device())
    self.hits = torch.zeros((), device=device())

  def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Takes one step on a batch."""
    with torch.autocast(
      device(), self._dtype, enabled=self._dtype != torch.float32
    ):
      logits = self._model(images)
      loss = self._loss(logits, labels)
    self._optimizer.zero_grad(set_to_none=True)
    self._scaler.scale(loss).backward()
    self._scaler.step(self._optimizer)
    self._scaler.update()
    self.loss += loss.detach()
    self.hits += (logits.detach().argmax(1) == labels).sum()


def sgd(
  model: nn.Module, *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
  """Returns SGD with Nesterov momentum; decay on kernels alone."""
  kernels = [p for p in model.parameters() if p.dim() > 1]
  others = [p for p in model.parameters() if p.dim() <= 1]
  groups: Sequence[dict[str, Any]] = [
    {"params": kernels, "weight_decay": weight_decay},
    {"params": others, "weight_decay": 0.0},
  ]
  return torch.optim.SGD(groups, learning_rate, momentum=0.9, nesterov=True)


def step(options: argparse.Namespace) -> child.Measure:
  """Times a training step on a constant batch."""
  case = child.case_of(options)
  model = network(case)
  images, labels = to_device(*case.batch())
  macs = forward_macs(model, images)
  take_step = Step(
    torch.compile(model) if options.compile else model,
    sgd(model, learning_rate=0.01, weight_decay=0.0),
    precision=options.precision,
  )

  def run(steps: int) -> None:
    for _ in range(steps):
      take_step(images, labels)
    take_step.loss.item()  # Waits for the device.

  return child.step_rate(
    run,
    case=case,
    macs=macs,
    parameters=count_variables(model),
    peak=lambda: machine_peak.torch_peak(options.precision),
    seconds=options.seconds,
  )


if __name__ == "__main__":
  child.main(__doc__, {"step": step})
