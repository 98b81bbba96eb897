#!/bin/sh
# Print the version of a Debian package for what `git describe --tags --always --dirty`
# says, $1, and the day of the commit, $2 (YYYYMMDD). Versions sort as the commits do:
# a commit before the first tag below it, a candidate below its release, and what comes
# after a tag above it.
set -eu
described=$1 day=$2
dirty=
case $described in *-dirty) described=${described%-dirty} dirty=+dirty ;; esac
case $described in
v[0-9]*)
	version=${described#v}
	# after a tag: TAG-N-gCOMMIT
	after=$(printf '%s\n' "$version" | sed -n 's/^.*-\([0-9]\{1,\}-g[0-9a-f]\{1,\}\)$/\1/p')
	version=${version%"${after:+-$after}"}
	# v1.2.0-rc.1 comes before v1.2.0
	version=$(printf '%s\n' "$version" | sed 's/-/~/; s/-/./g')
	[ -z "$after" ] || version=$version+$(printf '%s\n' "$after" | tr - .)
	;;
'') version=0~git$day ;;
*) version=0~git$day.$described ;;
esac
printf '%s\n' "$version$dirty"
