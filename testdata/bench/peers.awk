# peers.awk    the tables of docs/speed.md from the results of peers.sh
BEGIN {
    FS = "\t"
    name["vpnpush"] = "vpnpush"; name["ssh"] = "`ssh host true`, all at once"
    name["pipelining"] = "ansible-core, pipelining"; name["mitogen"] = "ansible-core, Mitogen"; name["plain"] = "ansible-core as it comes"
    title["plan"] = "plan of %d converged hosts"; title["again"] = "second apply, nothing to do"; title["change"] = "apply of one site's new key"
    whats = split("plan again change", what, " ")
    whos = split("vpnpush ssh mitogen pipelining plain", who, " ")
}
function median(k,    n, i, j, v, t) {
    n = split(values[k], v, " ")
    for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
    return v[int((n + 1) / 2)]
}
function seconds(us) { return us < 1e5 ? sprintf("%.3f s", us / 1e6) : us < 1e7 ? sprintf("%.2f s", us / 1e6) : sprintf("%.0f s", us / 1e6) }
function times(a, b) { return b == 0 ? "-" : a / b < 10 ? sprintf("%.2f", a / b) : sprintf("%.0f", a / b) }
function has(w, t) { return (w, t, 1) in values }
# goal TEXT GOT HELD: a row of the table of goals
function goal(text, got, held) { printf "| %s | %s | %s |\n", text, got, held ? "held" : "missed" }
$1 == "date" { date = $2; next }
$1 == "machine" { machine = $2; next }
$1 == "hosts" { hosts = $2; next }
$1 ~ /^version\// { version[substr($1, 9)] = $2; next }
$1 ~ /^missing\// { if ($2 != "") missing[substr($1, 9)] = $2; next }
$1 ~ /^latency\// { rtt[++rtts] = substr($1, 9); ssh[rtts] = $2; plan[rtts] = $3; next }
{
    split($1, a, "/")
    for (i = 2; i <= 6; i++) values[a[1], a[2], i - 1] = values[a[1], a[2], i - 1] " " $i
    runs[a[1], a[2]]++
}
END {
    printf "On %s, by `%s`, medians, on %s; %s", date, "make bench-peers", machine, version["ssh"]
    if ("ansible" in version) printf ", ansible-core %s", version["ansible"]
    if ("mitogen" in version) printf ", Mitogen %s", version["mitogen"]
    printf ", vpnpush %s.\n\n", version["vpnpush"]

    print "| | runs | wall | your processor | the hosts' | on the wire | connections | wall against vpnpush | your processor against vpnpush |"
    print "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for (t = 1; t <= whats; t++) {
        printf "| **" title[what[t]] "** | | | | | | | | |\n", hosts
        for (w = 1; w <= whos; w++) {
            if (!has(who[w], what[t])) {
                if (who[w] != "ssh") printf "| %s | NOT MEASURED | | | | | | | |\n", name[who[w]]
                continue
            }
            for (i = 1; i <= 5; i++) { got[i] = median(who[w] SUBSEP what[t] SUBSEP i); base[i] = has("vpnpush", what[t]) ? median("vpnpush" SUBSEP what[t] SUBSEP i) : 0 }
            printf "| %s | %d | %s | %s | %s | %.2f MB | %d | %s | %s |\n", name[who[w]], runs[who[w], what[t]],
                seconds(got[1]), seconds(got[2]), seconds(got[3]), got[4] / 1e6, got[5], times(got[1], base[1]), times(got[2], base[2])
        }
    }
    for (k in missing) printf "\nNOT MEASURED, %s: %s.\n", k, missing[k]

    if (rtts) {
        print "\n| round trip | `ssh host true`, cold | plan of a site | ratio |"
        print "| --- | --- | --- | --- |"
        for (r = 1; r <= rtts; r++) {
            printf "| %d ms | %.3f s | %.3f s | %.2f |\n", rtt[r], ssh[r] / 1e3, plan[r] / 1e3, plan[r] / ssh[r]
            if (plan[r] / ssh[r] > worst) worst = plan[r] / ssh[r]
        }
    }

    print "\n| goal for a plan | here | |"
    print "| --- | --- | --- |"
    for (w = 1; w <= whos; w++) if (has(who[w], "plan")) for (i = 1; i <= 2; i++) m[who[w], i] = median(who[w] SUBSEP "plan" SUBSEP i)
    against("pipelining", 1, 100, "the wall of Ansible with pipelining")
    against("pipelining", 2, 200, "your processor's time under Ansible with pipelining")
    against("mitogen", 1, 60, "the wall of Ansible with Mitogen")
    if (("ssh", 1) in m && ("vpnpush", 1) in m)
        goal("≤ 0.7 x as many `ssh host true` at once", times(m["vpnpush", 1], m["ssh", 1]) " x", m["vpnpush", 1] <= 0.7 * m["ssh", 1])
    if (rtts) goal("≤ 1.0 x a cold `ssh host true` at every round trip", sprintf("%.2f x at most", worst), worst <= 1)
    if (("vpnpush", 2) in m) goal("≤ 5 ms of your processor a host", sprintf("%.1f ms", m["vpnpush", 2] / hosts / 1e3), m["vpnpush", 2] / hosts <= 5e3)
}
function against(w, i, n, text) {
    if ((w, i) in m && ("vpnpush", i) in m) goal("≤ 1/" n " of " text, "1/" times(m[w, i], m["vpnpush", i]), m[w, i] >= n * m["vpnpush", i])
}
