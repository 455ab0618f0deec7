# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""One training step and one evaluation step, as plain functions.

Both run in a replica's context (a direct call is one replica), eagerly or in a
`tf.function`. `train_step` reads from top to bottom like the paper; each of the
functions below it is one of its lines, spelled out.
"""

from __future__ import annotations

import math
from typing import Any, Callable

import tensorflow as tf

import tricks
from train_loop.config import TrainConfig
from train_loop.state import TrainState
from train_loop.variables import assign_all
from tricks.draws import part_of_replica
from tricks.keras_compat import unconverted

Batch = dict[str, tf.Tensor]
Metrics = dict[str, tf.Tensor]
# Images as the network sees them and, if there is a teacher, as it sees them;
# [replica batch, height, width, channels] each.
Views = tuple[tf.Tensor, ...]
Schedule = Callable[[Any], tf.Tensor]

# What `eval_step` sums, if an image has one label: scalars, and [num_classes].
EVAL_SUMS = ("loss", "top1", "top5", "examples")
EVAL_SUMS_OF_CLASSES = ("class_top1", "class_examples")


@unconverted
def train_step(
  state: TrainState,
  batch: Batch,
  config: TrainConfig,
  *,
  schedule: Schedule,
  teacher: tf.keras.Model | None = None,
  image_size: int | None = None,
) -> Metrics:
  """Takes one optimizer step on one replica's share of a global batch.

  Args:
    state: the run's variables; written in place.
    batch: `image`, [replica batch, height, width, channels] uint8 or float,
      and `label`, [replica batch] integers in [0, num_classes); or, with task
      multi_label, [replica batch, num_classes] of 0 and 1.
    config: the hyperparameters.
    schedule: from the step to the learning rate, a float32 scalar.
    teacher: a model from images to logits, for distillation.
    image_size: the height that images are resized to; None leaves them.

  Returns:
    Scalars: `loss` and `top1`, the means over the global batch, of which top1
    counts the images whose likeliest class is their label, or one of them; the
    `gradient_norm` before clipping; the `learning_rate` applied; and `finite`,
    false if the step was skipped.

  Reference: He et al. 2018, sections 3 and 5.
  """
  replica = tf.distribute.get_replica_context()
  step = state.step.read_value()
  statistics = [v.read_value() for v in state.statistics]

  # 1. Mixup or CutMix, with randomness from (seed, step) alone.
  images, targets = mixed_batch(batch, step, state.num_classes, config)
  # A teacher would be wrong about small images: it sees them at full size.
  sizes = (image_size,) if teacher is None else (image_size, None)
  images = tuple(tricks.resized(images, size) for size in sizes)

  # 2, 3. Forward and backward, in micro-batches if asked.
  gradients, metrics = forward_backward(state, images, targets, config, teacher)

  # 4. The sum over replicas, once; only then unscale, check and clip.
  gradients, metrics = replica.all_reduce("SUM", (gradients, metrics))
  if state.loss_scale is not None:
    gradients = state.loss_scale.unscale(gradients)
  norm = tf.linalg.global_norm(gradients)
  # Once a step has ended the run, those left of the call change nothing.
  finite = tf.logical_and(tf.math.is_finite(norm), state.lost.goes_on())
  if config.optimizer.clip_global_norm:
    gradients, _ = tf.clip_by_global_norm(
      gradients, config.optimizer.clip_global_norm, use_norm=norm
    )

  # 5, 6. Decay and update; if the gradients are not finite, change nothing.
  learning_rate = schedule(step)
  average_statistics(state, replica)
  tf.cond(
    finite,
    lambda: apply_gradients(state, gradients, learning_rate, step, config),
    lambda: assign_all(state.statistics, statistics),
  )
  if state.loss_scale is not None:
    state.loss_scale.update(finite)

  # 7. The one counter that drives schedule, data and logging.
  state.step.assign_add(1)
  return {
    **metrics,
    "gradient_norm": norm,
    "learning_rate": learning_rate,
    "finite": finite,
  }


@unconverted
def mixed_batch(
  batch: Batch, step: tf.Tensor, num_classes: int, config: TrainConfig
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the images and dense targets that the network is trained on.

  Args:
    batch: `image` and `label`, as for `train_step`.
    step: int64 scalar; mixup and CutMix draw from it and the seed.
    num_classes: K.
    config: the hyperparameters.

  Returns:
    images: [batch, height, width, channels] float32.
    targets: [batch, K] float32; rows sum to 1, unless images have any number of
      labels.
  """
  images = tf.cast(batch["image"], tf.float32)
  targets = dense_targets(batch["label"], num_classes, config)
  mixup_alpha = config.regularization.mixup_alpha
  cutmix_alpha = config.regularization.cutmix_alpha
  if not (mixup_alpha or cutmix_alpha):
    return images, targets
  seed = tf.stack([config.loop.seed, tf.cast(step, tf.int32)])
  part = part_of_replica()
  return (tricks.mixup if mixup_alpha else tricks.cutmix)(
    images,
    targets,
    alpha=mixup_alpha or cutmix_alpha,
    # All replicas draw alike. Folding 0 in keeps the draws of older runs.
    seed=tf.random.fold_in(seed, 0, alg="philox"),
    groups=partner_groups(config.loop.global_batch_size, part.count),
    part=part,
  )


@unconverted
def dense_targets(
  labels: tf.Tensor, num_classes: int, config: TrainConfig
) -> tf.Tensor:
  """Returns smoothed targets.

  Args:
    labels: as of a batch for `train_step`.
    num_classes: K.
    config: the hyperparameters.

  Returns:
    [batch, K] float32.
  """
  smoothing, loss = config.regularization.label_smoothing, config.loss
  if loss.multi_label:
    targets = tf.cast(labels, tf.float32)
    return tricks.smooth_multi_labels(targets, smoothing)
  shares = None
  if loss.class_balance == "logit_adjustment":
    shares = tricks.smoothing_shares(
      loss.class_counts, tau=loss.logit_adjustment_tau
    )
  targets = tf.one_hot(labels, num_classes)
  return tricks.smooth_labels(targets, smoothing, shares=shares)


def partner_groups(global_batch_size: int, replicas: int) -> int:
  """Returns in how many groups of the global batch partners are found.

  No image moves between replicas. So that one replica finds the same partners
  as several, it too finds them in groups: of 32 examples at least, up to 8
  groups, and as many as there are replicas.
  """
  groups = 1
  while groups < 8 and global_batch_size % (64 * groups) == 0:
    groups *= 2
  return math.lcm(groups, replicas)


@unconverted
def forward_backward(
  state: TrainState,
  images: Views,
  targets: tf.Tensor,
  config: TrainConfig,
  teacher: tf.keras.Model | None,
) -> tuple[list[tf.Tensor], Metrics]:
  """Runs the network forward and backward; for SAM, twice.

  Returns:
    As `accumulated_gradients`.
  """
  run = sharpness_aware if config.optimizer.sam_rho else compiled_gradients
  return run(state, images, targets, config, teacher)


@unconverted
def sharpness_aware(
  state: TrainState,
  images: Views,
  targets: tf.Tensor,
  config: TrainConfig,
  teacher: tf.keras.Model | None,
) -> tuple[list[tf.Tensor], Metrics]:
  """Runs `compiled_gradients` at the weights, then at those uphill, for SAM.

  Uphill is by the gradient of the global batch, so that any number of replicas
  and micro-batches takes the same step. (In the paper each replica climbs by
  the gradient of its own part: m-SAM, with m examples a part.) Both times
  dropout draws the same numbers; the statistics are those of the first.

  Returns:
    As `accumulated_gradients`: the gradients of the second time, unless those
    of the first are not finite; the metrics of the first.
  """
  replica = tf.distribute.get_replica_context()
  weights, counters = (
    [v.read_value() for v in variables]
    for variables in (state.parameters, state.counters)
  )
  first, metrics = compiled_gradients(state, images, targets, config, teacher)
  statistics = [v.read_value() for v in state.statistics]
  summed = replica.all_reduce("SUM", first)
  uphill = tricks.sam_perturbations(summed, config.optimizer.sam_rho)
  assign_all(state.parameters, map(tf.add, weights, uphill))
  assign_all(state.counters, counters)
  second, _ = compiled_gradients(state, images, targets, config, teacher)
  assign_all(state.parameters, weights)
  assign_all(state.statistics, statistics)
  finite = tf.math.is_finite(tf.linalg.global_norm(summed))
  return [tf.where(finite, g, f) for g, f in zip(second, first)], metrics


@unconverted
def compiled_gradients(
  state: TrainState,
  images: Views,
  targets: tf.Tensor,
  config: TrainConfig,
  teacher: tf.keras.Model | None,
) -> tuple[list[tf.Tensor], Metrics]:
  """Runs `accumulated_gradients`, compiled by XLA if asked.

  On one device `run_steps` compiles the whole step, and this with it.
  """

  @unconverted
  def run(images: Views, targets: tf.Tensor) -> tuple[list[tf.Tensor], Metrics]:
    return accumulated_gradients(state, images, targets, config, teacher)

  if config.precision.jit_compile:
    run = tf.function(run, jit_compile=True)
  return run(images, targets)


@unconverted
def accumulated_gradients(
  state: TrainState,
  images: Views,
  targets: tf.Tensor,
  config: TrainConfig,
  teacher: tf.keras.Model | None,
) -> tuple[list[tf.Tensor], Metrics]:
  """Sums `loss_gradients` over `accumulate_steps` micro-batches.

  Sequential micro-batches need the memory of one. Parallel ones are faster on a
  CPU, each on its share of the cores.

  Returns:
    The gradients of the scaled loss, float32, one for each parameter; and the
    replica's share of `loss` and `top1`.
  """
  parts = config.optimizer.accumulate_steps
  if parts == 1:
    return loss_gradients(state, images, targets, config, teacher)
  if config.optimizer.parallel_micro_batches:
    views = zip(*(tf.split(view, parts) for view in images))
    terms = [
      loss_gradients(state, *part, config, teacher)
      for part in zip(views, tf.split(targets, parts))
    ]
    return tf.nest.map_structure(lambda *values: tf.add_n(values), *terms)

  def add_part(totals: Any, part: tuple[Views, tf.Tensor]) -> Any:
    terms = loss_gradients(state, *part, config, teacher)
    return tf.nest.map_structure(tf.add, totals, terms)

  zeros = [tf.zeros(v.shape, v.dtype) for v in state.parameters]
  return tf.foldl(
    add_part,
    tf.nest.map_structure(
      lambda x: tf.reshape(x, [parts, x.shape[0] // parts, *x.shape[1:]]),
      (images, targets),
    ),
    initializer=(zeros, {"loss": tf.constant(0.0), "top1": tf.constant(0.0)}),
    parallel_iterations=1,
  )


@unconverted
def loss_gradients(
  state: TrainState,
  images: Views,
  targets: tf.Tensor,
  config: TrainConfig,
  teacher: tf.keras.Model | None,
) -> tuple[list[tf.Tensor], Metrics]:
  """Runs the network forward and backward once.

  The loss is the sum over these examples divided by the *global* batch size, so
  that the sum over micro-batches and replicas is the mean.

  Returns:
    As `accumulated_gradients`.
  """
  with tf.GradientTape() as tape:
    logits, *auxiliary = [
      tf.cast(output, tf.float32)
      for output in tf.nest.flatten(state.network(images[0], training=True))
    ]
    losses = label_losses(logits, targets, config)
    for side_logits in auxiliary:  # None, unless auxiliary_weight is above 0.
      losses += config.regularization.auxiliary_weight * label_losses(
        side_logits, targets, config
      )
    if teacher is not None:
      soft = tf.cast(teacher(images[-1], training=False), tf.float32)
      losses += teacher_losses(logits, soft, config)
    loss = tf.reduce_sum(losses) / config.loop.global_batch_size
    scaled = loss + own_losses(state.model, config)
    if state.loss_scale is not None:
      scaled = state.loss_scale.scale(scaled)
  gradients = tape.gradient(
    scaled,
    state.parameters,
    unconnected_gradients=tf.UnconnectedGradients.ZERO,
  )
  likeliest = tf.argmax(logits, axis=1)
  if config.loss.multi_label:  # A hit is any of the labels.
    hits = tf.gather(targets, likeliest, batch_dims=1) > 0.5
  else:
    hits = tf.equal(likeliest, tf.argmax(targets, axis=1))
  top1 = tf.reduce_sum(tf.cast(hits, tf.float32))
  return gradients, {"loss": loss, "top1": top1 / config.loop.global_batch_size}


@unconverted
def label_losses(
  logits: tf.Tensor, targets: tf.Tensor, config: TrainConfig
) -> tf.Tensor:
  """Returns the loss of each example against its labels.

  Args:
    logits: [batch, K] float32.
    targets: [batch, K] float32.
    config: the hyperparameters.

  Returns:
    [batch] float32.
  """
  loss = config.loss
  if loss.multi_label:
    return tricks.sigmoid_loss(logits, targets, focal_gamma=loss.focal_gamma)
  weights = None
  if loss.class_balance == "weights":
    beta = loss.class_balance_beta
    weights = tricks.class_weights(loss.class_counts, beta=beta)
  if loss.class_balance == "logit_adjustment":
    tau = loss.logit_adjustment_tau
    logits = tricks.adjust_logits(logits, loss.class_counts, tau=tau)
  return tricks.softmax_loss(
    logits, targets, focal_gamma=loss.focal_gamma, class_weights=weights
  )


@unconverted
def teacher_losses(
  logits: tf.Tensor, teacher_logits: tf.Tensor, config: TrainConfig
) -> tf.Tensor:
  """Returns the loss of each example against its teacher, [batch] float32."""
  distillation_loss = (
    tricks.multi_label_distillation_loss
    if config.loss.multi_label
    else tricks.distillation_loss
  )
  temperature = config.regularization.distill_temperature
  return distillation_loss(logits, teacher_logits, temperature=temperature)


@unconverted
def own_losses(model: tf.keras.Model, config: TrainConfig) -> tf.Tensor:
  """Returns a micro-batch's share of the model's own losses: regularizers."""
  replicas = tf.distribute.get_strategy().num_replicas_in_sync
  total = tf.add_n([tf.cast(x, tf.float32) for x in model.losses] or [0.0])
  return total / (replicas * config.optimizer.accumulate_steps)


@unconverted
def average_statistics(
  state: TrainState, replica: tf.distribute.ReplicaContext
) -> None:
  """Makes BatchNorm's moving statistics the mean over all replicas."""
  if replica.num_replicas_in_sync > 1 and state.statistics:
    means = replica.all_reduce(
      "MEAN", [v.read_value() for v in state.statistics]
    )
    assign_all(state.statistics, means)


@unconverted
def apply_gradients(
  state: TrainState,
  gradients: list[tf.Tensor],
  learning_rate: tf.Tensor,
  step: tf.Tensor,
  config: TrainConfig,
) -> None:
  """Updates parameters, slots and averages; the gradients are finite."""
  state.noted.note(gradients)
  state.optimizer.apply(gradients, learning_rate=learning_rate, step=step)
  if state.averages:
    move_averages(state, step, config)


@unconverted
def move_averages(
  state: TrainState, step: tf.Tensor, config: TrainConfig
) -> None:
  """Moves the averages towards the weights after a step: EMA's, or SWA's."""
  settings, move = config.regularization, tricks.ema
  if settings.swa_steps:
    move = tricks.swa
    decay = tricks.swa_decay_at(
      step,
      total_steps=config.loop.total_steps,
      swa_steps=settings.swa_steps,
      every_steps=settings.swa_every_steps,
    )
  else:
    decay = tricks.ema_decay_at(step, settings.ema_decay)
  for average, variable in state.followed:
    average.assign(move(average, variable, decay=decay))


@unconverted
def eval_logits(
  model: tf.keras.Model, images: tf.Tensor, config: TrainConfig
) -> tf.Tensor:
  """Returns the logits that evaluation and prediction judge images by.

  Args:
    model: from images to logits.
    images: [batch, height, width, channels] uint8 or float.
    config: the hyperparameters.

  Returns:
    [batch, num_classes] float32; with flip_tta the logarithms of probabilities,
    or of their odds.
  """

  def forward(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(model(images, training=False), tf.float32)

  @unconverted
  def predict(images: tf.Tensor) -> tf.Tensor:
    if config.evaluation.flip_tta:
      multi_label = config.loss.multi_label
      return tricks.flip_tta(forward, images, multi_label=multi_label)
    return forward(images)

  if config.precision.jit_compile:
    predict = tf.function(predict, jit_compile=True)
  # In as many parts as training, since each operation may use only its share of
  # the cores.
  parts = tf.split(tf.cast(images, tf.float32), config.optimizer.parts_at_once)
  return tf.concat([predict(part) for part in parts], axis=0)


@unconverted
def eval_step(
  model: tf.keras.Model, batch: Batch, config: TrainConfig
) -> Metrics:
  """Evaluates one replica's share of a padded batch.

  Args:
    model: from images to logits.
    batch: `image` and `label`, as for `train_step`, and `mask`, [replica batch]
      bool, false for padding.
    config: the hyperparameters.

  Returns:
    Sums over all replicas' examples, float32: `loss` (cross-entropy, without
    smoothing), `top1`, `top5` (with fewer than five classes, top K), `examples`
    and, [num_classes], `class_top1` and `class_examples`. With task multi_label
    `loss` and `examples` alone and, of all replicas one after another,
    `logits`, `label` and `mask`.
  """
  logits = eval_logits(model, batch["image"], config)
  if config.loss.multi_label:
    return _multi_label_sums(logits, batch)
  labels = tf.cast(batch["label"], tf.int32)
  ranked = tf.math.top_k(logits, k=min(5, logits.shape[1])).indices
  hits = tf.cast(tf.equal(ranked, labels[:, tf.newaxis]), tf.float32)
  losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
  weights = tf.cast(batch["mask"], tf.float32)
  sums = {
    "loss": tf.reduce_sum(tf.where(batch["mask"], losses, 0.0)),
    "top1": tf.reduce_sum(weights * hits[:, 0]),
    "top5": tf.reduce_sum(weights * tf.reduce_sum(hits, axis=1)),
    "examples": tf.reduce_sum(weights),
  }
  for name, counted in (("top1", weights * hits[:, 0]), ("examples", weights)):
    sums[f"class_{name}"] = tf.math.unsorted_segment_sum(
      counted, labels, logits.shape[1]
    )
  return tf.distribute.get_replica_context().all_reduce("SUM", sums)


@unconverted
def _multi_label_sums(logits: tf.Tensor, batch: Batch) -> Metrics:
  """Returns what `eval_step` does if images have any number of labels."""
  replica = tf.distribute.get_replica_context()
  labels = tf.cast(batch["label"], tf.float32)
  losses = tricks.sigmoid_loss(logits, labels)
  sums = {
    "loss": tf.reduce_sum(tf.where(batch["mask"], losses, 0.0)),
    "examples": tf.reduce_sum(tf.cast(batch["mask"], tf.float32)),
  }
  # The mean average precision is no sum: it ranks all examples.
  rows = {
    "logits": logits,
    "label": labels,
    "mask": tf.cast(batch["mask"], tf.float32),
  }
  return {**replica.all_reduce("SUM", sums), **replica.all_gather(rows, axis=0)}
