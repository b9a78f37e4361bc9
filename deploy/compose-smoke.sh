#!/usr/bin/env bash
# Starts the cluster of docker-compose.yml from images, looks whether it works, and removes it.
# Usage: deploy/compose-smoke.sh                 all of that; what runs already is not touched
#        deploy/compose-smoke.sh --against URL   only looks at a cluster that runs
# Exits 0 when it works, 1 when it does not, 2 when called wrongly, 77 when there is no Docker engine here.
set -euo pipefail
cd "$(dirname "$0")/.."

STARTED_WITHIN_S=120
EVENT_WITHIN_S=20

fail() {
    echo "compose-smoke: FAILED: $1" >&2
    exit 1
}

# call TOKEN METHOD PATH [JSON]
call() {
    curl --silent --show-error --fail-with-body --max-time 20 --request "$2" "$URL$3" \
        --header "Authorization: Bearer $1" --header 'Content-Type: application/json' ${4:+"-d$4"}
}

# The value of one text field of an answer.
value() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

# Waits until a file holds a text.
await() {
    local end=$((SECONDS + EVENT_WITHIN_S))
    until grep --quiet --text "$2" "$1"; do
        [ "$SECONDS" -lt "$end" ] || fail "the socket never said $2"
        sleep 0.1
    done
}

check_health() {
    local end=$((SECONDS + STARTED_WITHIN_S))
    until curl --silent --fail --max-time 5 --output /dev/null "$URL/health"; do
        [ "$SECONDS" -lt "$end" ] || fail "$URL/health is not well within $STARTED_WITHIN_S s"
        sleep 0.5
    done
    echo "compose-smoke: /health is well"
}

check_login() {
    local name account
    name="smoke-$(date +%s)-$$"
    account="{\"email\":\"$name@example.com\",\"password\":\"correct-horse-battery\"}"
    call - POST /auth/register "$account" >/dev/null || fail "nobody can register"
    TOKEN=$(call - POST /auth/login "$account" | value accessToken) || fail "nobody can log in"
    [ -n "$TOKEN" ] || fail "a login gives no token"
    echo "compose-smoke: a login gives a token"
}

# A bare handshake: what the server then sends is plain text between short frame headers.
check_event() {
    local address=${URL#http://} heard reader
    heard=$(mktemp)
    exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
    printf '%s\r\n' "GET /ws HTTP/1.1" "Host: $address" "Authorization: Bearer $TOKEN" \
        "Connection: Upgrade" "Upgrade: websocket" "Sec-WebSocket-Version: 13" \
        "Sec-WebSocket-Key: $(head -c 16 /dev/urandom | base64)" \
        "Sec-WebSocket-Protocol: fanlight.v1" "" >&3
    cat <&3 >"$heard" &
    reader=$!
    await "$heard" WELCOME
    call "$TOKEN" PATCH /status '{"status":"AVAILABLE"}' >/dev/null || fail "no status can be set"
    await "$heard" SELF_STATUS_CHANGED
    kill "$reader"
    exec 3>&-
    rm -f "$heard"
    echo "compose-smoke: a change comes through a WebSocket"
}

check() {
    check_health
    check_login
    check_event
    echo "compose-smoke: OK"
}

no_engine() {
    echo "compose-smoke: not run: $1" >&2
    exit 77
}

# In a project of its own on a free port, so that a cluster of the same machine goes on undisturbed.
up_check_down() {
    command -v docker >/dev/null || no_engine "docker is not installed"
    docker compose version >/dev/null 2>&1 || no_engine "docker has no compose plugin"
    docker info >/dev/null 2>&1 || no_engine "no Docker engine answers"
    export COMPOSE_PROJECT_NAME="fanlight-smoke-$$" FANLIGHT_BIND=127.0.0.1 FANLIGHT_PORT=0
    trap clean_up EXIT
    docker compose up --build --detach || fail "the containers do not start"
    URL="http://$(docker compose port haproxy 8080)"
    check
}

clean_up() {
    [ $? -eq 0 ] || docker compose logs --tail 50
    docker compose down --volumes --remove-orphans
}

case ${1:-} in
    "") up_check_down ;;
    --against)
        [ $# -eq 2 ] || { echo "Usage: deploy/compose-smoke.sh [--against URL]" >&2; exit 2; }
        URL=${2%/}
        check
        ;;
    *) echo "Usage: deploy/compose-smoke.sh [--against URL]" >&2; exit 2 ;;
esac
