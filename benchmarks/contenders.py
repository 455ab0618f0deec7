# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""train_loop and its peers, by the names that tables call them."""

from __future__ import annotations

from benchmarks.harness import ONEDNN, Contender

OURS = "train_loop"
# As installed: what TensorFlow does by itself, whatever the shell says.
AS_INSTALLED = {"TF_ENABLE_ONEDNN_OPTS": None}

# PyPI's package of the name orbit is about satellites. TensorFlow's Orbit comes
# with the model garden, whose other dependencies it does not need, and which
# would replace the TensorFlow that is installed.
ORBIT_REMEDY = (
  "pip install train_loop[bench]; pip install --no-deps tf-models-official"
)


def ours(*arguments: str, name: str = OURS) -> Contender:
  """train_loop, with oneDNN on as its command has it."""
  return Contender(name, "benchmarks.peers.ours", arguments, ONEDNN)


def keras_as_installed(*arguments: str) -> Contender:
  """`model.fit` by a user who sets nothing."""
  return Contender(
    "model.fit, as installed",
    "benchmarks.peers.keras_fit",
    arguments,
    AS_INSTALLED,
  )


def keras_tuned(*arguments: str, jit_compile: bool) -> Contender:
  """`model.fit` with oneDNN, many steps a call, and XLA or not."""
  return Contender(
    f"model.fit, oneDNN{', XLA' if jit_compile else ''}, many steps a call",
    "benchmarks.peers.keras_fit",
    ("--tuned", f"--jit_compile={str(jit_compile).lower()}", *arguments),
    ONEDNN,
  )


def orbit(*arguments: str, onednn: bool) -> Contender:
  """Orbit's StandardTrainer."""
  return Contender(
    f"Orbit, {'oneDNN' if onednn else 'as installed'}",
    "benchmarks.peers.orbit_way",
    arguments,
    ONEDNN if onednn else AS_INSTALLED,
    requires=("orbit", "tf_keras"),
    remedy=ORBIT_REMEDY,
  )


def torch(*arguments: str, compile: bool = False) -> Contender:
  """PyTorch, eager or compiled."""
  return Contender(
    f"PyTorch, {'torch.compile' if compile else 'eager'}, channels last",
    "benchmarks.peers.torch_way",
    (*(["--compile"] if compile else []), *arguments),
    requires=("torch",),
  )
