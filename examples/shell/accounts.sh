#!/usr/bin/env bash
# Calls the partner's API at $PARTNER_URL as client `partner`, with curl and bearerd's command line, and prints the
# answer's body. After a 401 it reports the token and calls once more with another. Needs curl and jq.
set -euo pipefail

# The answer's body, then its status on a line of its own. The header lines are complete before curl starts: in
# `curl -H @<(bearerd headers …)` nobody would notice that bearerd refused, and the call would go out without a token.
call() { # [OPTION OF bearerd headers...]
    local headers
    headers=$(bearerd headers partner --set Requestor-ID=4711 "$@") || return
    curl -sS -w '\n%{http_code}' -H @<(printf '%s\n' "$headers") "$PARTNER_URL/api/accounts"
}

# Before the call: the id of a token that is older than the one used does no harm in a report, a newer one would retire
# a good token.
id=$(bearerd token partner --json | jq -r .id)
answer=$(call)
if [ "${answer##*$'\n'}" = 401 ]; then
    # Ends here with exit code 75, and bearerd's word why, if the token stays.
    answer=$(call --rejected "$id")
fi
printf '%s\n' "${answer%$'\n'*}"
[ "${answer##*$'\n'}" = 200 ]
