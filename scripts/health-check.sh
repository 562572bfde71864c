#!/usr/bin/env bash
# Watches the containers of docker-compose.yml, and restarts those that are down or whose health check fails.
#
# One look, for cron:          scripts/health-check.sh
# A look every 30 s, for ever: scripts/health-check.sh --every 30
#
# A container that is still starting is left alone, and so is everything behind one that was restarted in the same look:
# a server whose database has just come back needs no restart. The bridge's own check says that its process lives, not
# that it has a link, because to restart a bridge ends its runs. None is restarted more than MAX times by one watcher;
# then somebody has to look.
#
# Exit codes: 0 all healthy in the last look, 1 not, 2 a wrong argument or no docker.
set -euo pipefail

project=${COMPOSE_PROJECT_NAME:-baton}
services=(mongodb backend bridge)
every=
looks=1
max=3

usage() {
  echo "usage: $0 [--every SECONDS] [--looks COUNT] [--max RESTARTS] [SERVICE ...]" >&2
  exit 2
}

number() { [[ ${1-} =~ ^[0-9]+$ ]] || usage; }

named=()
while (($#)); do
  case $1 in
    --every) number "${2-}"; every=$2; looks=0; shift 2 ;;
    --looks) number "${2-}"; wanted=$2; shift 2 ;;
    --max) number "${2-}"; max=$2; shift 2 ;;
    mongodb | backend | bridge) named+=("$1"); shift ;;
    *) usage ;;
  esac
done
looks=${wanted-$looks}
((${#named[@]} == 0)) || services=("${named[@]}")
command -v docker >/dev/null || { echo "There is no docker on PATH: for a server without it, run baton doctor" >&2; exit 2; }

declare -A restarts

# healthy, starting, unhealthy, or what the container is instead of running (exited, missing, ...).
state_of() {
  docker inspect --format \
    '{{if ne .State.Status "running"}}{{.State.Status}}{{else if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}' \
    "$1" 2>/dev/null || echo missing
}

say() { printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"; }

# One look at all services; fails where one is not healthy.
look() {
  local service container state is_well=0
  for service in "${services[@]}"; do
    container=$project-$service-1
    state=$(state_of "$container")
    case $state in
      healthy) continue ;;
      starting | restarting | created) say "💬 $service is $state: left alone"; is_well=1; break ;;
      missing) say "❌ $service has no container ($container): make docker-up"; is_well=1; break ;;
    esac
    is_well=1
    if ((${restarts[$service]-0} >= max)); then
      say "❌ $service is $state after $max restarts: docker logs --tail 100 $container"
      break
    fi
    restarts[$service]=$((${restarts[$service]-0} + 1))
    say "❌ $service is $state: restarting it (${restarts[$service]} of $max)"
    docker restart "$container" >/dev/null || say "❌ $service could not be restarted: docker logs --tail 100 $container"
    break
  done
  ((is_well == 0)) && say "✅ ${services[*]}: healthy"
  return "$is_well"
}

count=0
while true; do
  result=0
  look || result=1
  count=$((count + 1))
  ((looks != 0 && count >= looks)) && exit "$result"
  sleep "${every:-0}"
done
