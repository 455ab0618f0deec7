#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# TensorBoard 2.20 is installed with setuptools 84, and does not start with it.
#
# A good engineer would guess: the setuptools that TensorBoard asks for, any from
# 41 on, is one that it works with; pip found no conflict.
# What happens: setuptools 84 no longer has the module pkg_resources, which
# TensorBoard 2.20 imports. The command ends in a ModuleNotFoundError. 2.21 starts.
# Who is hurt: whoever pins TensorBoard 2.20, for its TensorFlow, in a
# new environment of Python 3.12 or later: there is no old setuptools in it, so
# pip takes the newest.
#
# Seen (Python 3.11):
#
#   tensorboard 2.20.0 setuptools 81.0.0
#     starts: 2.20.0
#   tensorboard 2.20.0 setuptools 84.2.1
#     does not start: ModuleNotFoundError: No module named 'pkg_resources'
#   tensorboard 2.21.0 setuptools 84.2.1
#     starts: 2.21.0

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/pip" --quiet --disable-pip-version-check)

starts() {
  "${pip[@]}" install tensorboard=="$1" setuptools=="$2"
  echo "tensorboard $1 setuptools $2"
  if (cd "$folder" && venv/bin/tensorboard --version) >"$folder/out" 2>"$folder/notices"; then
    echo "  starts: $(tail -n 1 "$folder/out")"
  else
    echo "  does not start: $(tail -n 1 "$folder/notices")"
    return 1
  fi
}

starts 2.20.0 81.0.0
if starts 2.20.0 84.2.1; then
  echo 'Not as described.'
  exit 1
fi
grep -q "ModuleNotFoundError.*pkg_resources" "$folder/notices"
starts 2.21.0 84.2.1
echo 'As described.'
