# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""TensorBoard's HParams: a line for each run, a column for each flag."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Mapping
from typing import Union

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams import summary_v2 as hparams_summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from train_loop.workdir.tensorboard import TAGS
from train_loop.workdir.writing import writing

# The end of the names of the event files that hold flags.
SUFFIX = ".hparams"

Value = Union[bool, int, float, str]


def write_ladder(
  workdir: str | os.PathLike[str],
  runs: Mapping[str | os.PathLike[str], Mapping[str, Value]],
  *,
  metric: str,
) -> None:
  """Shows finished runs side by side; `tensorboard --logdir=workdir`.

  Args:
    workdir: holds the runs.
    runs: by the workdir of each run its flags, or what else tells it from the
      others.
    metric: the result that is shown, such as "eval_top1".

  Raises:
    ConfigError: the disk is full, or the like.
  """
  names = list(dict.fromkeys(name for flags in runs.values() for name in flags))
  columns = hparams_summary.hparams_config_pb(
    hparams=[hparams_summary.HParam(name) for name in names],
    metrics=[
      hparams_summary.Metric(tag, group="eval", display_name=name)
      for name, tag in (
        (metric, TAGS[metric.removeprefix("eval_")]),
        ("eval_loss", TAGS["loss"]),
      )
    ],
  )
  _write(pathlib.Path(workdir), columns)
  for run, flags in runs.items():
    write_run(run, flags, name=os.path.relpath(run, workdir))


def write_run(
  run: str | os.PathLike[str],
  flags: Mapping[str, Value],
  *,
  name: str = "",
) -> None:
  """Writes the line of a finished run, in place of an earlier one.

  Args:
    run: its workdir.
    flags: values by name.
    name: what it is called among the others; "" is its workdir.

  Raises:
    ConfigError: the disk is full, or the like.
  """
  end = plugin_data_pb2.SessionEndInfo(
    status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time()
  )
  data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
  ending = summary_pb2.Summary(
    value=[
      summary_pb2.Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
      )
    ]
  )
  beginning = hparams_summary.hparams_pb(
    dict(flags), trial_id=name or os.fspath(run)
  )
  _write(pathlib.Path(run) / "tensorboard", beginning, ending)


def _write(folder: pathlib.Path, *summaries: summary_pb2.Summary) -> None:
  """Writes an event file, and removes those of earlier reports."""
  with writing(folder):
    for earlier in folder.glob(f"events.*{SUFFIX}"):
      earlier.unlink()
    writer = EventFileWriter(os.fspath(folder), filename_suffix=SUFFIX)
    for summary in summaries:
      writer.add_event(
        event_pb2.Event(wall_time=time.time(), step=0, summary=summary)
      )
    writer.close()
