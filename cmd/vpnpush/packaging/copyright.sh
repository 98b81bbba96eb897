#!/bin/bash
# Print the copyright file of a Debian package: vpnpush's licence, and those of the
# modules that the program holds, which ask to be told with it. $1 is the program.
set -euo pipefail
program=$1

cat <<'END'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: vpnpush
Source: https://github.com/vpnpush/vpnpush
Comment: The program is linked statically. Below stand the licences of all that it
 holds: vpnpush, each Go module, and Go's own library.

Files: *
Copyright: The vpnpush contributors
License: Apache-2.0
END

# as a field of the format: each line indented, an empty one as " ."
indented() { sed 's/\r$//; s/^[[:space:]]*$/./; s/^/ /' "$1"; }

stanza() { # NAME FILE
	local name=$1 file=$2 holders license
	holders=$(grep -hiE '^[[:space:]]*copyright (\(c\)|©|[0-9])' "$file" | sed 's/^[[:space:]]*//; s/\r$//' | sort -u || :)
	printf '\nFiles: %s\nCopyright: %s\n' "$name" "$(printf '%s\n' "${holders:-the authors of $name}" | sed '2,$s/^/ /')"
	case $(head -n 20 "$file") in
	*'Apache License'*) printf 'License: Apache-2.0\n' ;;
	*'Mozilla Public License'*'ersion 2.0'*) printf 'License: MPL-2.0\n' ;;
	*)
		license=$(printf '%s\n' "$name" | tr -c 'a-zA-Z0-9.\n' -)
		printf 'License: %s\n' "$license"
		indented "$file"
		;;
	esac
}

# the modules that are linked
while read -r _ module _; do
	dir=$(go list -m -f '{{.Dir}}' "$module")
	file=$(find "$dir" -maxdepth 1 \( -iname 'LICEN[CS]E*' -o -name 'COPYING*' \) | sort | head -n 1)
	[ -n "$file" ] || { echo "copyright: $module has no licence" >&2; exit 1; }
	stanza "$module" "$file"
done < <(go version -m "$program" | grep -P '^\tdep\t')
stanza go "$(go env GOROOT)/LICENSE"

cat <<'END'

License: Apache-2.0
 On Debian systems the full text of the Apache License 2.0 is in
 /usr/share/common-licenses/Apache-2.0.

License: MPL-2.0
 On Debian systems the full text of the Mozilla Public License 2.0 is in
 /usr/share/common-licenses/MPL-2.0.
END
