#!/usr/bin/env bash
# Installs what a private cluster needs and this machine lacks: Postgres, Redis, HAProxy, a C compiler.
# Run it alone, or source it; ./run and ./test do. With FOR_TESTS=yes also what only the tests need: npm, which fetches
# the pinned Node, and Chromium.
#
# It never touches a server that exists, and leaves no service running or enabled that it installed: the cluster
# starts its own servers, with the programs of these packages.
set -euo pipefail

# Debian keeps servers out of the PATH of ordinary users.
find_tool() {
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null
}

has_postgres() {
    local folder
    find_tool postgres && find_tool initdb && return 0
    for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin; do
        [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] && return 0
    done
    return 1
}

missing_packages() {
    has_postgres || echo postgresql
    find_tool redis-server || find_tool valkey-server || echo redis-server
    find_tool haproxy || echo haproxy
    # Two dependencies are built from C: aws-lc and jemalloc.
    find_tool cc || echo gcc libc6-dev
    find_tool make || echo make
    [ "${FOR_TESTS:-}" = yes ] || return 0
    # The client for JavaScript runs in Node, which npm fetches, and the page in a browser.
    find_tool npm || echo npm
    find_tool chromium || find_tool chromium-browser || find_tool google-chrome || echo chromium
    # Tests put another load balancer in front, set the clock of a node wrong, make certificates, and cut the network of
    # a client.
    find_tool nginx || echo nginx
    find_tool faketime || echo faketime
    find_tool openssl || echo openssl
    [ "$(uname)" != Linux ] || find_tool ip || echo iproute2
    # They ask a real Prometheus, and its promtool, about the rules and dashboards.
    find_tool prometheus && find_tool promtool || echo prometheus
    # schemathesis, which tries the HTTP API, is Python.
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    # libFuzzer is C++.
    find_tool c++ || echo g++
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

explain_and_stop() {
    cat >&2 <<MESSAGE
$1
Missing here: $2
  Debian, Ubuntu   sudo apt-get install $2
  Fedora, RHEL     sudo dnf install postgresql-server valkey haproxy gcc make
  Arch             sudo pacman -S postgresql valkey haproxy base-devel
  Alpine           apk add postgresql redis haproxy build-base
  macOS            brew install postgresql@17 redis haproxy
and for ./test also nginx, libfaketime, openssl, iproute2, a C++ compiler, npm, Chromium, Prometheus and Python with venv.
Or start the cluster in containers: docker compose up --build
MESSAGE
    exit 1
}

# Debian's own switch: while this file says 101, no package starts its service. Prints whether it was put there.
forbid_service_starts() {
    [ -e /usr/sbin/policy-rc.d ] && return 0
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod 755 /usr/sbin/policy-rc.d
    echo forbidden
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "$@"
}

# The server package would make and start a database cluster on port 5432.
install_postgres() {
    local settings=/etc/postgresql-common/createcluster.conf
    local existed=
    [ -e "$settings" ] && existed=yes
    apt_install postgresql-common
    [ -n "$existed" ] && as_root cp -p "$settings" "$settings.fanlight"
    as_root sed -i 's/^#\? *create_main_cluster *=.*/create_main_cluster = false/' "$settings"
    apt_install postgresql
    [ -z "$existed" ] || as_root mv "$settings.fanlight" "$settings"
}

# At the next boot the services would start after all.
disable_services() {
    local package
    for package in "$@"; do
        case $package in
            redis-server | haproxy | nginx | prometheus)
                if command -v systemctl >/dev/null; then
                    as_root systemctl disable --quiet "$package" 2>/dev/null || true
                else
                    as_root update-rc.d "$package" disable 2>/dev/null || true
                fi
                ;;
        esac
    done
}

install_missing() {
    local missing others=() package forbidden
    missing=$(missing_packages | tr '\n' ' ')
    missing=${missing% }
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || explain_and_stop "Only apt is used to install things." "$missing"
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        explain_and_stop "Installing needs root or sudo." "$missing"
    fi
    echo "Installing: $missing"
    for package in $missing; do
        [ "$package" = postgresql ] || others+=("$package")
    done

    forbidden=$(forbid_service_starts)
    # shellcheck disable=SC2064 # the value of now is meant
    trap "[ -z '$forbidden' ] || as_root rm -f /usr/sbin/policy-rc.d" EXIT
    as_root apt-get update --quiet || explain_and_stop "apt-get update failed." "$missing"
    [ ${#others[@]} -eq 0 ] || apt_install "${others[@]}"
    has_postgres || install_postgres
    disable_services "${others[@]}"
    [ -z "$forbidden" ] || as_root rm -f /usr/sbin/policy-rc.d
    trap - EXIT
}

require_rust() {
    command -v cargo >/dev/null && return 0
    echo "cargo is not installed. Install Rust from https://rustup.rs, then start again." >&2
    exit 1
}

install_missing
