#!/usr/bin/env bash
# Describes every SQL query of the code in .sqlx/, so that it builds without a database.
#
# The compile-time checked queries are compiled once against a private Postgres that holds the migrations and is gone
# afterwards. Does what `cargo sqlx prepare` does, without having to install it.
set -euo pipefail
cd "$(dirname "$0")/.."

initdb=$(command -v initdb || printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -1)
folder=$(dirname "$(readlink -f "$initdb")")
state=$(mktemp -d)
# Postgres refuses to run as root.
as_owner() { "$@"; }
if [ "$(id -u)" -eq 0 ]; then
    owner=$(getent passwd postgres nobody | head -1 | cut -d: -f1)
    chown "$owner" "$state"
    as_owner() { (cd / && runuser --user "$owner" -- "$@"); }
fi

cleanup() {
    as_owner "$folder/pg_ctl" stop --pgdata "$state/data" --mode immediate --silent || true
    rm -rf "$state"
}
trap cleanup EXIT

as_owner "$folder/initdb" --pgdata "$state/data" --auth trust --username fanlight --encoding UTF8 --locale C --no-sync \
    >/dev/null
start() {
    # Below the range of outgoing connections.
    port=$((20000 + RANDOM % 12000))
    as_owner "$folder/pg_ctl" start --pgdata "$state/data" --log "$state/log" --silent --wait \
        --options "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
}
start || start || start
url=postgres://fanlight@127.0.0.1:$port/postgres
for migration in migrations/*.sql; do
    "$folder/psql" --quiet --no-psqlrc --set ON_ERROR_STOP=1 --file "$migration" "$url"
done

# The macros describe a query when they are expanded, so everything must be compiled anew.
mkdir "$state/sqlx"
touch src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$state/sqlx" DATABASE_URL=$url cargo check --locked --all-targets --features failpoints
rm -rf .sqlx
cp -R "$state/sqlx" .sqlx
echo "$(find .sqlx -name '*.json' | wc -l) queries are described in .sqlx/"
