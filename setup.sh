#!/bin/sh
# What the make targets need on this computer. Quick when it is all there.
#
#   ./setup.sh python               the virtual environment .venv: xportal, its sandbox, its checks
#   ./setup.sh engine               install and start Docker Engine, and leave it running
#   ./setup.sh with-engine COMMAND  run COMMAND with Docker Engine; one that was started for such a COMMAND is stopped
#                                   after the last of them, any other goes on
#
# As root on Debian what is missing is installed with apt. Elsewhere one line says what to install.
set -eu
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin
PYTHON=${PYTHON:-python3}
state=/run/xportal-setup # of an engine that this script started: its marks and its log

say() { echo "setup: $*" >&2; }

fail() {
    say "$@"
    exit 1
}

# --- packages ---

missing=

# need COMMAND PACKAGE
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }

install_missing() {
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "install these (by Debian's names) and run this again:$missing"
    fi
    say "installing$missing"
    hold_services
    log=$(mktemp)
    {
        # shellcheck disable=SC2086 # a list
        apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
    } >"$log" 2>&1 || { cat "$log" >&2; release_services; fail "apt-get could not install$missing"; }
    rm "$log"
    release_services
    missing=
}

# Without a service manager a package would start its service behind our back, and nothing would stop it.
hold_services() {
    held=
    if [ ! -d /run/systemd/system ] && [ ! -e /usr/sbin/policy-rc.d ]; then
        held=yes
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
    fi
}

release_services() { [ -z "$held" ] || rm -f /usr/sbin/policy-rc.d; }

# --- python ---

python() {
    "$PYTHON" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
    install_missing
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "xportal needs Python 3.10 or newer; name one with PYTHON=/path/to/python3"
    stamp="$(pwd) $("$PYTHON" -V) $(sha256sum <pyproject.toml)"
    [ "$(cat .venv/stamp 2>/dev/null)" != "$stamp" ] || return 0
    say "making the virtual environment .venv"
    "$PYTHON" -m venv --clear .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --editable '.[sandbox,dev]'
    echo "$stamp" >.venv/stamp
}

# --- Docker Engine ---

answers() { docker version >/dev/null 2>&1; }

packages() {
    answers || need dockerd docker.io
    # Where / is an overlay itself (in a container), dockerd's usual storage driver cannot run: it then takes this one.
    [ "$(stat --file-system --format=%T /var/lib)" != overlayfs ] || need fuse-overlayfs fuse-overlayfs
    need "$PYTHON" python3
    need ip iproute2
    need iptables iptables
    need losetup mount
    need mkfs.ext4 e2fsprogs
    need mkfs.xfs xfsprogs
    need mmdebstrap mmdebstrap
    need ps procps
    need rsync rsync
    need ssh openssh-client
    need sshd openssh-server # for the tests, as is the next
    need slirp4netns slirp4netns
    install_missing
    # From Debian 13 on, docker.io leaves the client out.
    need docker docker-cli
    install_missing
}

# When a process began: another one that gets its number later began at another time. Nothing if it is gone.
begun() { cut --delimiter=' ' --fields=22 "/proc/$1/stat" 2>/dev/null || true; }

mark_started() { echo "$1 $(begun "$1")" >"$state/started"; }

# Whether the engine that runs is one that with-engine has started, and nobody asked to leave running.
is_to_be_stopped() {
    read -r pid at 2>/dev/null <"$state/started" || return 1
    [ -n "$at" ] && [ "$(begun "$pid")" = "$at" ]
}

engine() {
    packages
    answers && return 0
    [ "$(id -u)" = 0 ] || fail "no Docker Engine answers: start it, or join its group (docker)"
    mkdir -p "$state"
    if [ -d /run/systemd/system ]; then
        systemctl start docker
        mark_started "$(systemctl show --property MainPID --value docker)"
    else
        mount_cgroups
        say "starting dockerd"
        setsid "$PYTHON" .ci/own_root.py dockerd >"$state/dockerd.log" 2>&1 9>&- &
        mark_started $!
    fi
    for _ in $(seq 120); do
        ! answers || return 0
        sleep 0.5
    done
    tail -n 5 "$state/dockerd.log" >&2 || true
    stop_engine
    fail "dockerd does not answer"
}

# A bare chroot has no cgroups mounted: the same hierarchies that this process is in.
mount_cgroups() {
    ! grep -q ' /sys/fs/cgroup' /proc/mounts || return 0
    touch "$state/cgroups"
    if ! grep -qv '^0::' /proc/self/cgroup; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        return
    fi
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    while IFS=: read -r _ controllers _; do
        case $controllers in
        '') name=unified type=cgroup2 options=rw ;;
        *) name=${controllers#name=} type=cgroup options=$controllers ;;
        esac
        mkdir -p "/sys/fs/cgroup/$name"
        mount -t "$type" -o "$options" "$type" "/sys/fs/cgroup/$name"
    done </proc/self/cgroup
}

stop_engine() {
    if [ -n "$(docker ps --quiet 2>/dev/null)" ]; then
        say "dockerd goes on: containers still run on it"
        return 0
    fi
    if [ -d /run/systemd/system ]; then
        systemctl stop docker.service containerd.service
    else
        read -r pid _ <"$state/started"
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 120); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.5
        done
        umount /run/docker/netns/default 2>/dev/null || true
        # In a chroot dockerd does not recognize the mount of its data-root that it made itself.
        [ ! -e /run/docker/unmount-on-shutdown ] || umount /var/lib/docker 2>/dev/null || true
        rmdir /sys/fs/cgroup/docker /sys/fs/cgroup/*/docker 2>/dev/null || true
        [ ! -e "$state/cgroups" ] || umount --recursive /sys/fs/cgroup
    fi
    rm -rf "$state"
}

# Everyone who needs the engine holds a lock, shared, to the end of this script; who is the last may stop it.
hold_engine() {
    exec 9>/run/xportal-setup.lock
    flock --shared 9
    (
        flock 8
        engine 8>&-
    ) 8>/run/xportal-setup.start.lock
}

keep_engine() {
    if [ "$(id -u)" = 0 ]; then
        hold_engine
        rm -f "$state/started"
    else
        engine
    fi
}

with_engine() {
    if answers && ! is_to_be_stopped; then
        packages
        exec "$@"
    fi
    [ "$(id -u)" = 0 ] || engine # which says what is missing
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'flock --exclusive --nonblock 9 && is_to_be_stopped && stop_engine' EXIT
    hold_engine
    status=0
    "$@" 9>&- || status=$?
    exit "$status"
}

case ${1-} in
python) python ;;
engine) keep_engine ;;
with-engine)
    shift
    with_engine "$@"
    ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
