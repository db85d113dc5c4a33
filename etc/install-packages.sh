#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs the Debian packages that are missing: install-packages.sh [run|test|lint|bench|fuzz|coverage]. Without an
# argument all that `make test` needs. Uses sudo when it is not run by root. With --list first it prints what it
# would want, installed or not, and installs nothing.
set -eu

list=
[ "${1:-}" != --list ] || { list=yes; shift; }

run='gcc libc6-dev make pkg-config libcivetweb-dev libhiredis-dev libpq-dev libcurl4-openssl-dev libjansson-dev
 libesmtp-dev libjwt-dev libsodium-dev libssl-dev redis-server postgresql-15 tzdata python3 python3-aiosmtpd
 python3-psycopg2 python3-redis python3-requests ca-certificates'
test="libcriterion-dev python3-jsonschema python3-pytest python3-pytest-xdist procps chromium faketime nginx-light openssl
 systemd pgbouncer"
bench='wrk'
lint='clang-format clang-tidy cppcheck'
fuzz='clang libclang-rt-14-dev'
coverage='gcovr'

case ${1:-test} in
run) wanted=$run ;;
test) wanted="$run $test" ;;
lint) wanted="$run $test $lint" ;;
bench) wanted="$run $bench" ;;
fuzz) wanted="$run $test $fuzz" ;;
coverage) wanted="$run $test $coverage" ;;
*) echo "install-packages.sh: unknown set \"$1\"" >&2; exit 2 ;;
esac
# A Node.js that is there already, from wherever, will do.
if [ "${1:-test}" != run ]; then
    command -v node >/dev/null || wanted="$wanted nodejs"
    command -v npm >/dev/null || wanted="$wanted npm"
fi
[ -z "$list" ] || { echo $wanted; exit 0; }

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "these Debian packages are missing; install them as root:$missing" >&2
        exit 1
    }
    as_root=sudo
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# The servers that the packages would start are not ours: Till starts private ones.
$as_root env RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing >/dev/null
