# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The replicas and hosts that train together, by TensorFlow's tf.distribute.

The strategy in whose scope this is called decides which there are. A *replica*
is a device with a copy of the variables; a *host* is a process with one replica
or more. Without a strategy there is one of each.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, Callable

import tensorflow as tf

from train_loop.failures import HostLost
from train_loop.scalars import scalar
from tricks.draws import WHOLE, Part


class Hosts:
  """The hosts of the strategy in scope, and what they agree on.

  Every method that asks other hosts waits until all of them have called it;
  with one host it costs nothing.

  Attributes:
    part: which of the hosts this is. It reads its share of each global batch:
      consecutive places, in the order of the hosts.
    is_chief: whether this is the host that writes files.
  """

  def __init__(self) -> None:
    self.part = host()
    self.is_chief = self.part.index == 0
    self._total = _make_total(tf.distribute.get_strategy())

  def any(self, condition: bool) -> bool:
    """Returns whether a condition holds on any host."""
    if self.part.count == 1:
      return condition
    return self._total(float(condition)) > 0.0

  def of_chief(self, value: float) -> float:
    """Returns the chief's value, on all hosts."""
    if self.part.count == 1:
      return value
    return self._total(value if self.is_chief else 0.0)

  def wait(self) -> None:
    """Waits until all hosts have called this."""
    self.any(False)


def distributed(dataset: tf.data.Dataset) -> Any:
  """Cuts this host's batches into those of its replicas.

  Args:
    dataset: batches of one size, the host's shares of global batches.

  Returns:
    What `strategy.run` takes the elements of: batches of consecutive examples,
    the first replica's first.
  """
  strategy = tf.distribute.get_strategy()
  if not tf.distribute.has_strategy():
    return dataset
  replicas = strategy.num_replicas_in_sync // host().count
  if replicas > 1:
    size = dataset.element_spec["label"].shape[0]
    dataset = dataset.rebatch(size // replicas, drop_remainder=True)
  return strategy.distribute_datasets_from_function(lambda context: dataset)


def host() -> Part:
  """Returns which of the hosts this is, and how many there are."""
  hosts = _addresses()
  if not hosts:
    return WHOLE
  resolver = tf.distribute.get_strategy().cluster_resolver
  this = (resolver.task_type, resolver.task_id)
  return Part(list(hosts).index(this), len(hosts))


def _addresses() -> dict[tuple[str, int], str]:
  """Returns the address of each host by its task, in the order of the hosts.

  There is none without a cluster.
  """
  resolver = tf.distribute.get_strategy().cluster_resolver
  if resolver is None or not resolver.task_type:
    return {}
  cluster = tf.train.ClusterSpec(resolver.cluster_spec()).as_dict()
  return {
    (kind, number): address
    for kind in ("chief", "worker")
    for number, address in enumerate(cluster.get(kind, ()))
  }


@contextlib.contextmanager
def noticing_lost_hosts() -> Iterator[None]:
  """Turns TensorFlow's error of a host that is gone into one that names it.

  A host whose process ends is noticed at once, one that is cut off by the
  health check of tf.distribute, within a minute.

  Raises:
    HostLost: another host does not answer.
  """
  try:
    yield
  except (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
  ) as error:
    if host().count == 1:
      raise
    raise HostLost(
      f"{_lost(str(error))} stopped answering, and what was trained since the "
      "last checkpoint is lost: see its log, and give the same command again "
      "on all hosts"
    ) from error


def _lost(text: str) -> str:
  """Returns in words which host an error of TensorFlow's is about."""
  found = re.search(r"/job:(\w+)/replica:\d+/task:(\d+)", text)
  if not found:
    return "another host"
  hosts = _addresses()
  task = (found[1], int(found[2]))
  return f"{hosts[task]} (host {list(hosts).index(task) + 1} of {len(hosts)})"


def _make_total(strategy: tf.distribute.Strategy) -> Callable[[float], float]:
  """Returns the function that sums a number over hosts."""

  @tf.function(input_signature=[tf.TensorSpec([], tf.float64)])
  def total(value: tf.Tensor) -> tf.Tensor:
    def replica_total(value: tf.Tensor) -> tf.Tensor:
      # Without a copy of its own the value is on no device of the strategy's.
      own = tf.identity(value)
      return tf.distribute.get_replica_context().all_reduce("SUM", own)

    totals = strategy.run(replica_total, args=(value,))
    return strategy.experimental_local_results(totals)[0]

  def total_over_hosts(value: float) -> float:
    return float(total(tf.constant(scalar(value), tf.float64))) / replicas

  # Each replica of a host has its value.
  replicas = strategy.num_replicas_in_sync // host().count
  return total_over_hosts
