# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""train_loop and its peers, by their names in the tables."""

from __future__ import annotations

from benchmarks.harness import ONEDNN, Contender

OURS = "train_loop"
# As installed: TensorFlow's own default, even if the shell sets another.
AS_INSTALLED = {"TF_ENABLE_ONEDNN_OPTS": None}

# PyPI's package named orbit is about satellites. TensorFlow's Orbit is part of
# tf-models-official. --no-deps, because its dependencies would replace the
# installed TensorFlow, and Orbit does not need them.
ORBIT_REMEDY = (
  "pip install train_loop[bench]; pip install --no-deps tf-models-official"
)


def ours(*arguments: str, name: str = OURS) -> Contender:
  """train_loop, with oneDNN on, as the command does."""
  return Contender(name, "benchmarks.peers.ours", arguments, ONEDNN)


def keras_as_installed(*arguments: str) -> Contender:
  """`model.fit` without any setting."""
  return Contender(
    "model.fit, as installed",
    "benchmarks.peers.keras_fit",
    arguments,
    AS_INSTALLED,
  )


def keras_tuned(*arguments: str, jit_compile: bool) -> Contender:
  """`model.fit` with oneDNN and many steps per call, with or without XLA."""
  return Contender(
    f"model.fit, oneDNN{', XLA' if jit_compile else ''}, many steps per call",
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
