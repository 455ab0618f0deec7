# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""PyTorch, channels last, eager or with --compile.

    python -m benchmarks.peers.torch_way --task=step --case=resnet20

Tasks: `step`, the training step on a constant batch; `accuracy`, seconds to a
test accuracy by train_loop's recipe.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import swa_utils
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import machine_peak
from benchmarks import recipe as recipe_lib
from benchmarks.cases import Case
from benchmarks.peers import child, torch_networks

DTYPES = {
  "float32": torch.float32,
  "mixed_float16": torch.float16,
  "mixed_bfloat16": torch.bfloat16,
}


def device() -> str:
  """Returns the device that PyTorch trains on."""
  return "cuda" if torch.cuda.is_available() else "cpu"


def network(case: Case) -> nn.Module:
  """Builds the case's network on its device, channels last."""
  # Any, because PyTorch's types do not know `to` with memory_format.
  model: Any = torch_networks.network(case).to(device())
  return model.to(memory_format=torch.channels_last)


def to_device(images: Any, labels: Any) -> tuple[torch.Tensor, torch.Tensor]:
  """Returns a NumPy batch as tensors: images [b, c, h, w], labels int64."""
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
  """Returns the number of parameters, including BatchNorm's statistics."""
  return sum(
    tensor.numel()
    for name, tensor in model.state_dict().items()
    if not name.endswith("num_batches_tracked")
  )


class Step:
  """A training step that sums loss and hits on the device."""

  def __init__(
    self,
    model: nn.Module,
    *optimizers: torch.optim.Optimizer,
    label_smoothing: float = 0.0,
    precision: str = "float32",
    micro_batches: int = 1,
  ) -> None:
    self._model = model
    self._optimizers = optimizers
    self._loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    self._micro_batches = micro_batches
    self._dtype = DTYPES[precision]
    half = precision == "mixed_float16"
    self._scaler = torch.amp.GradScaler(device(), enabled=half)
    self.loss = torch.zeros((), device=device())
    self.hits = torch.zeros((), device=device())

  def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Takes one step on a batch."""
    self._model.zero_grad(set_to_none=True)
    parts = self._micro_batches
    for part in zip(images.chunk(parts), labels.chunk(parts)):
      self._add_gradients(*part)
    for optimizer in self._optimizers:
      self._scaler.step(optimizer)
    self._scaler.update()

  def _add_gradients(self, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Runs the network forward and backward on a micro-batch."""
    with torch.autocast(
      device(), self._dtype, enabled=self._dtype != torch.float32
    ):
      logits = self._model(images)
      loss = self._loss(logits, labels) / self._micro_batches
    self._scaler.scale(loss).backward()
    self.loss += loss.detach()
    self.hits += (logits.detach().argmax(1) == labels).sum()


def sgd(
  model: nn.Module, *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
  """Returns SGD with Nesterov momentum and weight decay on kernels only."""
  kernels = [p for p in model.parameters() if p.dim() > 1]
  others = [p for p in model.parameters() if p.dim() <= 1]
  groups: Sequence[dict[str, Any]] = [
    {"params": kernels, "weight_decay": weight_decay},
    {"params": others, "weight_decay": 0.0},
  ]
  return torch.optim.SGD(groups, learning_rate, momentum=0.9, nesterov=True)


class ConvolutionMuon(torch.optim.Muon):
  """PyTorch's Muon, which takes matrices, for convolutions' kernels."""

  def __init__(self, kernels: Sequence[nn.Parameter], **options: Any) -> None:
    self._kernels = kernels
    # The matrices share the memory of the channels-last kernels.
    self._matrices = [nn.Parameter(as_matrix(k.detach())) for k in kernels]
    super().__init__(self._matrices, **options)

  def step(self, closure: Any = None) -> Any:
    """Takes a step with the kernels' gradients."""
    for kernel, matrix in zip(self._kernels, self._matrices):
      assert kernel.grad is not None  # backward() has set it.
      matrix.grad = as_matrix(kernel.grad)
    return super().step(closure)


def as_matrix(kernel: torch.Tensor) -> torch.Tensor:
  """Returns [outputs, channels, height, width] as [outputs, inputs]."""
  return kernel.permute(0, 2, 3, 1).flatten(1)


def muon(
  model: nn.Module, *, learning_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
  """Returns Muon for convolutions and SGD for all else, as train_loop does."""
  parameters = list(model.parameters())
  decayed = [p for p in parameters if p.dim() == 2]
  others = [p for p in parameters if p.dim() < 2]
  heavy_ball: dict[str, Any] = {"momentum": 0.9, "nesterov": True}
  # SGD's momentum of 0.9 makes its decay ten times as large.
  groups: Sequence[dict[str, Any]] = [
    {"params": decayed, "weight_decay": weight_decay * 0.1},
    {"params": others, "weight_decay": 0.0},
  ]
  return [
    ConvolutionMuon(
      [p for p in parameters if p.dim() == 4],
      lr=learning_rate,
      weight_decay=weight_decay,
      **heavy_ball,
    ),
    torch.optim.SGD(groups, learning_rate, **heavy_ball),
  ]


def step(options: argparse.Namespace) -> child.Measure:
  """Times a training step on a constant batch."""
  case = child.case_of(options)
  model = network(case)
  images, labels = to_device(*case.batch())
  macs = forward_macs(model, images)
  trained: Any = torch.compile(model) if options.compile else model
  take_step = Step(
    trained,
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
    gpu_bytes=machine_peak.torch_gpu_bytes,
    seconds=options.seconds,
  )


# Settings of the recipe that this peer supports only with these values.
KNOWN = {
  "schedule": "linear",
  "optimizer": "muon",
  "momentum": 0.9,
  "nesterov": True,
  "decay_kernels_only": True,
  "flip": False,
  "hold_epochs": 0.0,
  "warmup_learning_rate": 0.0,
  "pad_crop": 0,
  "mixup_alpha": 0.0,
  "cutmix_alpha": 0.0,
  "clip_global_norm": 0.0,
}


def require_known(recipe: recipe_lib.Recipe) -> None:
  """Raises ValueError if this peer does not support the recipe."""
  for name, value in KNOWN.items():
    found = recipe.values[name].value
    if found != value:
      raise ValueError(
        f"{name} must be {value!r} for PyTorch, the recipe has {found!r}: "
        "add it to benchmarks/peers/torch_way.py"
      )


def initialize(model: nn.Module) -> None:
  """Initializes as train_loop does: Glorot kernels, zero γ in branches."""
  for module in model.modules():
    if isinstance(module, (nn.Conv2d, nn.Linear)):
      nn.init.xavier_uniform_(module.weight)
    if isinstance(module, nn.Linear):
      nn.init.zeros_(module.bias)
    if isinstance(module, torch_networks.Block):
      nn.init.zeros_(torch_networks.last_batch_norm(module).weight)


def rate_at(step: int, recipe: recipe_lib.Recipe) -> float:
  """Returns the learning rate of a step, as a fraction of the peak."""
  warmup = recipe.config.schedule.warmup_steps
  if step < warmup:
    return (step + 1) / warmup
  return 1 - (step - warmup) / (recipe.config.loop.total_steps - warmup)


class Batches:
  """The training data in memory, with random erasing."""

  def __init__(self, recipe: recipe_lib.Recipe) -> None:
    self._images, self._labels = to_device(
      recipe.train.images, recipe.train.labels
    )
    self._batch_size = recipe.case.batch_size
    self._erasing_probability = recipe.values.erasing_probability
    self._order = torch.empty(0, dtype=torch.int64, device=device())

  def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the next batch; a batch may span two epochs."""
    if len(self._order) < self._batch_size:
      new = torch.randperm(len(self._labels), device=device())
      self._order = torch.cat([self._order, new])
    chosen = self._order[: self._batch_size]
    self._order = self._order[self._batch_size :]
    images = self._images[chosen]
    if self._erasing_probability:
      images = erased(images, self._erasing_probability)
    return images, self._labels[chosen]


def erased(images: torch.Tensor, probability: float) -> torch.Tensor:
  """Blackens a rectangle of some images (Zhong et al. 2017, algorithm 1)."""
  count, _, height, width = images.shape
  draws = torch.rand(2, count, 10, device=images.device)
  area = (0.02 + 0.38 * draws[0]) * height * width
  aspect = 0.3 + 3.0 * draws[1]
  sides = torch.stack([area * aspect, area / aspect]).sqrt().round()
  fits = (sides[0] <= height) & (sides[1] <= width)
  first = fits.byte().argmax(1, keepdim=True).expand(2, -1, -1)
  sides = torch.where(fits, sides, 0).gather(2, first)
  chosen = torch.rand(count, 1, device=images.device) < probability
  hit = []
  for side, size in zip(sides, (height, width)):
    start = (torch.rand_like(side) * (size - side + 1)).floor()
    offsets = torch.arange(size, device=images.device) - start
    hit.append((offsets >= 0) & (offsets < side) & chosen)
  rows, columns = hit
  return images.masked_fill(
    rows[:, None, :, None] & columns[:, None, None, :], 0
  )


def resized(images: torch.Tensor, image_size: int | None) -> torch.Tensor:
  """Resizes to a height, with antialiasing; None leaves the images."""
  if image_size is None or image_size == images.shape[2]:
    return images
  _, _, height, width = images.shape
  return nn.functional.interpolate(
    images.float(),
    (image_size, max(1, round(image_size * width / height))),
    mode="bilinear",
    antialias=True,
  )


def top1(
  model: nn.Module, test: tuple[torch.Tensor, torch.Tensor], batch_size: int
) -> float:
  """Returns the test accuracy."""
  images, labels = test
  hits = torch.zeros((), device=device())
  model.eval()
  with torch.no_grad():
    for start in range(0, len(labels), batch_size):
      part = slice(start, start + batch_size)
      hits += (model(images[part]).argmax(1) == labels[part]).sum()
  model.train()
  return hits.item() / len(labels)


def accuracy(options: argparse.Namespace) -> child.Measure:
  """Trains train_loop's recipe until the target is reached, or to its end."""
  recipe = recipe_lib.of(options)
  require_known(recipe)
  test = to_device(recipe.test.images, recipe.test.labels)

  def measure() -> dict[str, Any]:
    torch.manual_seed(options.seed)
    model = network(recipe.case)
    initialize(model)
    optimizers = muon(
      model,
      learning_rate=recipe.values.base_learning_rate
      * recipe.case.batch_size
      / 256,
      weight_decay=recipe.values.weight_decay,
    )
    schedulers = [
      torch.optim.lr_scheduler.LambdaLR(o, lambda step: rate_at(step, recipe))
      for o in optimizers
    ]
    take_step = Step(
      model,
      *optimizers,
      label_smoothing=recipe.values.label_smoothing,
      micro_batches=recipe.values.accumulate_steps,
    )
    batches = Batches(recipe)
    averages = None
    if recipe.values.ema_decay:
      averages = swa_utils.AveragedModel(
        model,
        multi_avg_fn=swa_utils.get_ema_multi_avg_fn(recipe.values.ema_decay),
        use_buffers=True,
      )

    steps_taken = itertools.count()

    def train(steps: int) -> None:
      for step in itertools.islice(steps_taken, steps):
        images, labels = next(batches)
        size = recipe.config.loop.image_size_at(step)
        take_step(resized(images, size), labels)
        if averages is not None:
          averages.update_parameters(model)
        for scheduler in schedulers:
          scheduler.step()
      take_step.loss.item()

    race = child.Race(options.target)
    race.run(
      train,
      lambda: top1(averages or model, test, recipe.case.batch_size),
      recipe.half_epochs,
    )
    return race.record()

  return measure


if __name__ == "__main__":
  child.main(__doc__, {"step": step, "accuracy": accuracy})
