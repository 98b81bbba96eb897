# summary.awk: what `go test -v` has to tell. Reads its output; prints a line per
# package, everything of a package that failed, and at the end what was skipped
# and why. Exits 1 if anything failed.
/^(=== |--- PASS|[ ]+--- PASS|PASS$)/ { last = ""; next }
/--- SKIP: / {
	why = last
	sub(/^ *[^ ]+\.go:[0-9]+: /, "", why)
	skipped[++skips] = $3 ": " why
	next
}
/^ok / || /\[no test files\]/ { print; n = 0; last = ""; next }
/^FAIL\t/ {
	for (i = 1; i <= n; i++) print held[i]
	print
	n = 0
	failed = 1
	next
}
/^FAIL$/ { failed = 1; next }
{ held[++n] = $0; last = $0 }
END {
	for (i = 1; i <= n; i++) print held[i]
	if (skips) print "\nskipped, " skips " in all:"
	for (i = 1; i <= skips; i++) print "    " skipped[i]
	exit failed
}
