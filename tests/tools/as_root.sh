# Sourced: install Debian packages where this user may, and say what is missing where not.

# install_packages NAME...: status 1 and the names on stderr if they cannot be installed here.
install_packages() {
    local -a run=()
    if ! command -v apt-get >/dev/null; then
        echo "missing: $* (there is no apt-get here: install them with this system's packages)" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            echo "missing: $* (to install: sudo apt-get install $*)" >&2
            return 1
        fi
        run=(sudo -n)
    fi
    echo "installing $*"
    local log
    log="$(mktemp)"
    if ! "${run[@]}" env DEBIAN_FRONTEND=noninteractive bash -c '
        apt-get update -q && apt-get install -q -y --no-install-recommends "$@"
    ' install "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        echo "missing: $* (apt-get could not install them, see above)" >&2
        return 1
    fi
    rm -f "$log"
}
