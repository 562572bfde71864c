#!/usr/bin/env bash
# Collects what helps others to help you: `baton debug-info`, wherever Baton is to be found here.
#
#   bash scripts/collect-debug-info.sh [FILE] > debug-output.txt
#
# What baton doctor finds goes to stdout, and the archive's place and contents after it. With `--docker` the server's
# container is asked, which alone has its token, and the archive is fetched out of it.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

if [[ ${1-} == --docker ]]; then
  shift
  file=${1:-baton-debug-$(date -u +%Y%m%d-%H%M%S).tar.gz}
  [[ ! -e $file ]] || { echo "$file is there already: name another file" >&2; exit 2; }
  inside=/tmp/baton-debug-$$.tar.gz
  docker compose --project-directory "$here" exec -T backend baton debug-info "$inside"
  docker compose --project-directory "$here" cp "backend:$inside" "$file"
  docker compose --project-directory "$here" exec -T backend rm "$inside"
  echo "Fetched to $file"
  exit
fi

for baton in "$here/.venv/bin/baton" "$(command -v baton || true)"; do
  [[ -x $baton ]] && exec "$baton" debug-info "$@"
done
echo "Baton is not installed here: make run makes .venv, or pip install baton-agents" >&2
exit 2
