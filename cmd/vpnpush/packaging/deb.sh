#!/bin/bash
# Make dist/vpnpush_VERSION_ARCH.deb of the tree. $1 is what git says of it.
set -euo pipefail
cd "$(dirname "$0")/../../.."
described=$1
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.48.0
arch=$(go env GOARCH)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
DEB_VERSION=$(cmd/vpnpush/packaging/version.sh "$described" "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d)")-1
DEB_MAINTAINER=${DEB_MAINTAINER:-vpnpush contributors <vpnpush@users.noreply.github.com>}
DEB_ARCH=$arch STAGE=$work/root
export DEB_VERSION DEB_MAINTAINER DEB_ARCH STAGE

build() { CGO_ENABLED=0 GOOS=$1 GOARCH=$2 go build -trimpath -ldflags "-s -w -X main.version=$described" -o "$3" ./cmd/vpnpush; }

# the pages and completions are written by the program, so by one that runs here
build "$(go env GOHOSTOS)" "$(go env GOHOSTARCH)" "$work/vpnpush"
build linux "$arch" "$work/target"
cmd/vpnpush/packaging/install.sh "$work/vpnpush" "$STAGE" /usr
install -m 755 "$work/target" "$STAGE/usr/bin/vpnpush"

doc=$STAGE/usr/share/doc/vpnpush
rm "$doc/LICENSE" # it is in the copyright file, and in every Debian
cmd/vpnpush/packaging/copyright.sh "$work/target" >"$doc/copyright"
mv "$doc/CHANGELOG.md" "$doc/changelog"
cat >"$doc/changelog.Debian" <<END
vpnpush ($DEB_VERSION) unstable; urgency=medium

  * Made of $described. What users notice is in changelog.gz.

 -- $DEB_MAINTAINER  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
gzip -9n "$doc/changelog" "$doc/changelog.Debian" "$STAGE"/usr/share/man/man1/*
install -D -m 644 cmd/vpnpush/packaging/lintian-overrides "$STAGE/usr/share/lintian/overrides/vpnpush"
find "$STAGE" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

mkdir -p dist
env -u GOOS -u GOARCH go run "$nfpm" package -f cmd/vpnpush/packaging/nfpm.yaml -p deb -t "dist/vpnpush_${DEB_VERSION}_$arch.deb"
