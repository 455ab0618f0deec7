#!/usr/bin/env bash
# Trains on several hosts by hand. On each host, with its own index:
#
#   bash two_hosts.sh INDEX ADDRESS,ADDRESS,... FLAGS OF train_loop
#
#   bash two_hosts.sh 0 10.0.0.1:2222,10.0.0.2:2222 --recipe=... --workdir=...
#   bash two_hosts.sh 1 10.0.0.1:2222,10.0.0.2:2222 --recipe=... --workdir=...
#
# workdir is one folder that all hosts see. Each host listens at its address.

set -euo pipefail
index=$1
workers="\"${2//,/\",\"}\""
shift 2
export TF_CONFIG="{\"cluster\": {\"worker\": [$workers]}, \
\"task\": {\"type\": \"worker\", \"index\": $index}}"
exec train_loop "$@"
