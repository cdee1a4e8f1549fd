#!/usr/bin/env bash
# Calls the partner's API at $PARTNER_URL as client `partner`, with curl alone: the token comes from the daemon's HTTP
# view on $BEARERD_SOCKET. Prints the answer's body. After a 401 it reports the token and calls once more with another.
# Needs curl and jq.
set -euo pipefail

broker() { # METHOD [QUERY]: the token with everything that belongs to it
    local answer
    if ! answer=$(curl -sS --fail-with-body -X "$1" --unix-socket "$BEARERD_SOCKET" \
        "http://localhost/v1/clients/partner/token${2-}"); then
        printf '%s\n' "$answer" >&2 # {"error":{"code":…,"reason":…,"message":…,"retry_after_s":…}}
        return 69
    fi
    printf '%s' "$answer"
}

# The header lines of one call. A per-call value is the program's to give: missing, or not like the pattern, is an error
# here and now, not a 400 from the API.
header_lines() { # TOKEN --arg NAME VALUE...
    printf '%s' "$1" | jq -r "${@:2}" '"Authorization: \(.authorization)", (.headers[]
        | (if .per_call then $ARGS.named[.name] // "" else .value end) as $value
        | (.pattern // ".+") as $like
        | if .per_call and ($value == "" or ($value | test("\\A(?:\($like))\\z") | not))
          then error("\(.name) is missing, or not like \($like)") else "\(.name): \($value)" end)'
}

call() { # TOKEN: the answer's body, then its status on a line of its own
    local headers
    headers=$(header_lines "$1" --arg Requestor-ID 4711) || return
    curl -sS -w '\n%{http_code}' -H @<(printf '%s\n' "$headers") "$PARTNER_URL/api/accounts"
}

id_of() { # TOKEN
    printf '%s' "$1" | jq -r .id
}

token=$(broker GET)
answer=$(call "$token")
if [ "${answer##*$'\n'}" = 401 ]; then
    used=$(id_of "$token")
    token=$(broker POST "?rejected=$used")
    # The same one again: `rejection` says why it stays.
    [ "$(id_of "$token")" = "$used" ] || answer=$(call "$token")
fi
printf '%s\n' "${answer%$'\n'*}"
[ "${answer##*$'\n'}" = 200 ]
