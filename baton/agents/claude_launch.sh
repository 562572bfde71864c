#!/bin/sh
# Starts Claude Code with exactly the environment that claude_environment.py decided on.
#
# The SDK hands its child all of its own environment and can only add to it, so what must not reach the child is
# taken away here, by name: the names stand in BATON_LAUNCH_DROP, the program in BATON_LAUNCH_PROGRAM.
# Everything below is exec, so the child keeps this process id, and nothing stays between it and the SDK.
set -f
drop="-u BATON_LAUNCH_DROP -u BATON_LAUNCH_PROGRAM"
for name in $BATON_LAUNCH_DROP; do
    drop="$drop -u $name"
done
# A session of its own: Ctrl-C at Baton's terminal is for Baton, which then ends its agents in order.
# The parent's death signal: when Baton is killed, Claude Code must not go on unseen.
if command -v setsid >/dev/null 2>&1 && setpriv --pdeathsig TERM true >/dev/null 2>&1; then
    # shellcheck disable=SC2086  # $drop is a list of words
    exec setpriv --pdeathsig TERM setsid /usr/bin/env $drop "$BATON_LAUNCH_PROGRAM" "$@"
fi
# shellcheck disable=SC2086
exec /usr/bin/env $drop "$BATON_LAUNCH_PROGRAM" "$@"
