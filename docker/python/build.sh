#!/usr/bin/env bash
# Makes the image that Python, stdio and exec plugins run in, from Debian packages and without any image registry.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib/docker.sh
. "$here/../../scripts/lib/docker.sh"

usage() {
    cat <<'USAGE'
Makes the container image plugbay/python:3 from Debian packages. No image registry is asked.

Usage: docker/python/build.sh [--tag TAG] [--force] [--no-install]
       docker/python/build.sh --folder DIR [--force] [--no-install]

  --tag TAG     name of the image (default: plugbay/python:3)
  --folder DIR  write the files into DIR, which must not exist, instead of making an image; needs no Docker
  --force       fetch the packages again, to get Debian's security updates
  --no-install  install nothing on this machine; say what is missing and fail
  --help        print this

The files are kept in $XDG_CACHE_HOME/plugbay/python (~/.cache/plugbay/python), so that a lost image is made again
without a download. An image that is there already is left as it is.
PLUGBAY_DEBIAN_MIRROR names another mirror; http_proxy and apt's proxy are used.
Exit code: 0 if the image or the folder is there, 2 for wrong usage, 1 otherwise.
USAGE
}

tag=plugbay/python:3
folder=
force=no
may_install=yes
while [ $# -gt 0 ]; do
    case $1 in
    --tag | --folder)
        if [ -z "${2:-}" ] || [[ $2 == -* ]]; then
            echo "error: $1 needs a value" >&2
            exit 2
        fi
        if [ "$1" = --tag ]; then tag=$2; else folder=${2%/}; fi
        shift
        ;;
    --force) force=yes ;;
    --no-install) may_install=no ;;
    -h | --help) usage; exit 0 ;;
    *)
        printf 'error: unknown argument: %s\n\n' "$1" >&2
        usage >&2
        exit 2
        ;;
    esac
    shift
done

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

# -- The recipe ---------------------------------------------------------------------------------------------------

# Everything that decides what is in the image; its hash is the image's label and the name of the kept file.
suite=bookworm
case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) fail "no image is known for $(uname -m)" ;;
esac
# usr-is-merged takes the place of usrmerge, which would bring 60 MB of Perl. Wheels that hold compiled code (numpy,
# pandas) are linked with libstdc++ and libgomp and carry neither: the manylinux standard lets them expect the former, and
# some expect the latter.
# shellcheck disable=SC2054 # These commas belong to the options.
options=(
    --variant=essential
    --include=python3,ca-certificates,usr-is-merged,libstdc++6,libgomp1
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr
    --dpkgopt=path-exclude=/usr/share/doc/*
    --dpkgopt=path-include=/usr/share/doc/*/copyright
    --dpkgopt=path-exclude=/usr/share/man/*
    --dpkgopt=path-exclude=/usr/share/info/*
    --dpkgopt=path-exclude=/usr/share/lintian/*
    --dpkgopt=path-exclude=/usr/share/locale/*
)
# $1 is the folder of the files. No plugin may gain rights by a program, and nothing of this machine may be inside.
tidy=$(tr '\n' ' ' <<'TIDY'
find "$1" -xdev \( -type f -o -type d \) -perm /6000 -exec chmod ug-s {} + &&
find "$1/var/log" "$1/var/cache" -type f -delete &&
rm -f "$1/etc/machine-id" "$1/etc/apt/sources.list" "$1"/etc/apt/sources.list.d/* &&
for file in etc/resolv.conf etc/hostname etc/hosts; do rm -f "$1/$file" && : >"$1/$file"; done &&
test -x "$1/usr/bin/python3"
TIDY
)
changes=(
    "ENV PATH=/usr/local/bin:/usr/bin:/bin"
    "ENV LANG=C.UTF-8"
    "CMD [\"python3\"]"
)
recipe=$(printf '%s\n' "$suite" "$architecture" "${options[@]}" "$tidy" "${changes[@]}" | sha256sum | cut -c 1-16)

# -- What is there ------------------------------------------------------------------------------------------------

# Prints the recipe of the image that has the tag; nothing if there is none.
image_recipe() { docker image inspect --format '{{index .Config.Labels "plugbay.recipe"}}' "$tag" 2>/dev/null || true; }

if [ -n "$folder" ]; then
    if [ -e "$folder" ] && [ -n "$(ls -A "$folder" 2>/dev/null || echo file)" ]; then
        fail "$folder is there already; remove it first, or name another folder"
    fi
else
    docker_ready || fail "$(docker_advice)"
    if [ "$force" = no ] && [ "$(image_recipe)" = "$recipe" ]; then
        echo "$tag is there already (recipe $recipe)."
        exit 0
    fi
fi

cache=${XDG_CACHE_HOME:-${HOME:-/var/cache}/.cache}/plugbay/python
kept=$cache/$recipe.tar
mkdir -p "$cache" || fail "cannot make the folder $cache; name another one with XDG_CACHE_HOME"

# Only one of several runs downloads; the others then find what it made.
exec 9>"$cache/lock"
if ! flock --nonblock 9; then
    echo "Another run is making it; waiting for that …"
    flock 9
    if [ -z "$folder" ] && [ "$(image_recipe)" = "$recipe" ]; then
        echo "$tag was made by the other run (recipe $recipe)."
        exit 0
    fi
fi

unfinished=()
trap 'rm -rf "${unfinished[@]}"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# -- The files ----------------------------------------------------------------------------------------------------

need_mmdebstrap() {
    local packages=()
    if ! command -v mmdebstrap >/dev/null; then packages+=(mmdebstrap); fi
    if [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then packages+=(debian-archive-keyring); fi
    if [ ${#packages[@]} -gt 0 ]; then install_packages "$may_install" "${packages[@]}" || exit 1; fi
}

fetch() {
    local log=$cache/build.log fresh=$cache/.new.$$ proxy
    local more=()
    need_mmdebstrap
    if [ -z "${http_proxy:-}" ] && command -v apt-config >/dev/null; then
        proxy=$(apt-config dump --format '%v' Acquire::http::Proxy 2>/dev/null || true)
        if [ -n "$proxy" ]; then more+=(--aptopt="Acquire::http::Proxy \"$proxy\""); fi
    fi
    echo "Fetching Debian $suite ($architecture) with Python 3; this takes about a minute …"
    rm -rf "$cache"/.new.*
    unfinished+=("$fresh")
    # A package manager that asks something would wait for ever.
    if ! DEBIAN_FRONTEND=noninteractive mmdebstrap "${options[@]}" "${more[@]}" --architectures="$architecture" \
        --format=tar --customize-hook="$tidy" "$suite" - ${PLUGBAY_DEBIAN_MIRROR:+"$PLUGBAY_DEBIAN_MIRROR"} \
        </dev/null 9>&- 2>"$log" >"$fresh"; then
        tail -n 20 "$log" >&2
        fail "fetching Debian packages failed; all of the log: $log
A proxy is taken from http_proxy, another mirror from PLUGBAY_DEBIAN_MIRROR; without root, mmdebstrap needs the package uidmap."
    fi
    mv "$fresh" "$kept"
    # What earlier recipes left.
    find "$cache" -maxdepth 1 -name '*.tar' ! -path "$kept" -delete
}

if [ "$force" = no ] && [ -s "$kept" ]; then
    echo "Using the files of an earlier run: $kept"
else
    fetch
fi

# -- The image, or the folder -------------------------------------------------------------------------------------

if [ -n "$folder" ]; then
    part=$folder.part.$$
    unfinished+=("$part")
    mkdir -p "$part"
    # Device nodes could not be made without root, and a sandbox brings its own.
    tar -xf "$kept" -C "$part" --exclude='./dev/*' --no-same-owner 9>&- || fail "unpacking $kept failed"
    if [ -d "$folder" ]; then rmdir "$folder"; fi
    mv "$part" "$folder"
    echo "Wrote $folder ($(du -sh "$folder" | cut -f 1), recipe $recipe)."
    exit 0
fi

before=$(docker image inspect --format '{{.Id}}' "$tag" 2>/dev/null || true)
arguments=()
for change in "${changes[@]}" "LABEL plugbay.recipe=$recipe"; do arguments+=(--change "$change"); done
image=$(docker import "${arguments[@]}" "$kept" "$tag" 9>&-) || fail "importing $kept into Docker failed"
# A replaced image stays while something runs on it.
if [ -n "$before" ] && [ "$before" != "$image" ]; then docker image rm "$before" >/dev/null 2>&1 || true; fi
echo "Made $tag (${image:7:12}, $(($(stat -c %s "$kept") / 1000000)) MB, recipe $recipe)."
