# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the command can do: one small program a mode.

Each has `run(values) -> exit status`; `values` are those of the flags, as
`train_loop.command.flags.parse` returns them:

    from train_loop.command import flags
    from train_loop.modes import train

    train.run(flags.parse("--recipe=digits", "--workdir=runs/digits"))

A mode raises a ConfigError or a DataError for a bad flag or input.
"""
