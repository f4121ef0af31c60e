# What the scripts share: where the repository is, which modules it has, and
# how a step is announced. Source it; it changes to the root of the repository.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
root=$PWD
export PATH="$root/.tools/bin:$PATH"

# modules prints the folder of every module that go.work names.
modules() { go list -m -f '{{.Dir}}'; }

# sources prints the Go files of the repository, tracked or about to be.
# Globs narrow the list. Ignored folders such as node_modules do not appear.
sources() {
	git ls-files -z --cached --others --exclude-standard -- "${@:-*.go}" |
		while IFS= read -r -d '' f; do [ -e "$f" ] && printf '%s\n' "$f"; done | sort -u
}

# say announces a step on standard error, so that standard output stays plain.
say() { printf '== %s\n' "$*" >&2; }

# die ends the script with a message that says what to do.
die() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}
