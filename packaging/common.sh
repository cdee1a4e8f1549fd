# shellcheck shell=bash
# What `deb` and `rpm` have in common. They source this in the repository's root.
#
# BEARERD_BIN         take this binary instead of building one
# SOURCE_DATE_EPOCH   the time of everything in the packages; else that of the last commit, or of the changelog

set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

need() { # TOOL PACKAGE...
    local tool=$1
    shift
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install $*"
}

# Prints the version with which packages sort a release after its candidates: 1.0.0-rc.1 becomes 1.0.0~rc.1.
version() {
    sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1 | sed 's/-/~/'
}

set_source_date() {
    : "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}"
    export SOURCE_DATE_EPOCH
}

# Makes a directory that is gone when the script ends: $work.
make_work() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
}

# Prints the path of the binary. What cargo says goes to standard error.
binary() {
    if [ -n "${BEARERD_BIN:-}" ]; then
        [ -x "$BEARERD_BIN" ] || fail "BEARERD_BIN: $BEARERD_BIN is no program"
        printf '%s\n' "$BEARERD_BIN"
    else
        cargo build --release --locked >&2
        printf '%s\n' "${CARGO_TARGET_DIR:-target}/release/bearerd"
    fi
}

# The files of the packages, as they are installed: the only list of them. What is generated comes from the binary.
stage() { # TREE BINARY ZSH-FUNCTIONS
    local tree=$1 binary=$2 zsh=$3 verb
    local doc=$tree/usr/share/doc/bearerd units=$tree/usr/lib/systemd

    install -D -m 0755 "$binary" "$tree/usr/bin/bearerd"
    strip --strip-unneeded --remove-section=.comment "$tree/usr/bin/bearerd"
    install -D -m 0644 -t "$units/system" systemd/bearerd.service systemd/bearerd.socket
    install -D -m 0644 -t "$units/system/bearerd.service.d" systemd/bearerd.service.d/*.conf
    install -D -m 0644 -t "$units/user" systemd/user/bearerd.service systemd/user/bearerd.socket
    install -D -m 0644 -t "$units/catalog" systemd/bearerd.catalog
    install -D -m 0644 systemd/bearerd.sysusers "$tree/usr/lib/sysusers.d/bearerd.conf"
    install -D -m 0644 systemd/bearerd.tmpfiles "$tree/usr/lib/tmpfiles.d/bearerd.conf"

    # Closed from the first moment on; the group comes with the user.
    install -d -m 0755 "$tree/etc"
    install -d -m 0750 "$tree/etc/bearerd" "$tree/etc/bearerd/conf.d" "$tree/etc/bearerd/secrets"
    install -m 0640 packaging/bearerd.toml "$tree/etc/bearerd/bearerd.toml"

    install -d -m 0755 "$tree/usr/share/man/man1"
    "$binary" man | gzip -9n >"$tree/usr/share/man/man1/bearerd.1.gz"
    for verb in $("$binary" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]\{1,\}\) .*/\1/p'); do
        "$binary" man "$verb" | gzip -9n >"$tree/usr/share/man/man1/bearerd-$verb.1.gz"
    done

    install -d -m 0755 "$tree/usr/share/bash-completion/completions" "$tree/$zsh" \
        "$tree/usr/share/fish/vendor_completions.d"
    "$binary" completions bash >"$tree/usr/share/bash-completion/completions/bearerd"
    "$binary" completions zsh >"$tree/$zsh/_bearerd"
    "$binary" completions fish >"$tree/usr/share/fish/vendor_completions.d/bearerd.fish"

    # The places that README.md names, so that its links hold.
    install -D -m 0644 -t "$doc" README.md CHANGELOG.md ARCHITECTURE.md CONTRIBUTING.md SECURITY.md
    install -D -m 0644 -t "$doc/docs" docs/*.md
    install -D -m 0644 -t "$doc/examples" examples/config.toml examples/get_token.py
    install -D -m 0644 -t "$tree/usr/share/bearerd/proto/bearerd/v1" proto/bearerd/v1/*.proto
    ln -s ../../bearerd/proto "$doc/proto"
}

# Files that are older than the sources' date keep no time of their own either.
settle_times() { # TREE
    find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}
