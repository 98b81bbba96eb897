package tasks

// Hold keeps files of ours as they stand on the host, for this run, although
// something else is wanted: those among ids whose wanted content is not what was
// last applied. It returns the tasks with that, and the IDs that are held.
//
// A key that both ends of a tunnel must have changes on both in one run, or on
// neither. A file that somebody edited on the host is not held: it goes back to
// what was last applied, which the other end has too.
func Hold(ts []Task, f Facts, ids map[string]bool) (out []Task, held []string, err error) {
	m, err := ReadManifest(f)
	if err != nil || m == nil || len(ids) == 0 {
		return ts, nil, err
	}
	stands := map[string]string{} // path -> digest of what stands there
	for _, t := range ts {
		if file, ok := t.(File); ok && ids[t.ID()] && m.Digest(t.ID()) != "" && m.Digest(t.ID()) != file.Digest() {
			s, err := f.File(file.Path)
			if err != nil {
				return nil, nil, err
			}
			if s.Exists && s.SHA256() != SHA256(file.Content) {
				file.Content = s.Content
				stands[file.Path] = s.SHA256()
				held = append(held, t.ID())
				t = file
			}
		}
		out = append(out, t)
	}
	for i, t := range out {
		ipsec, ok := t.(IPsec)
		if !ok || len(held) == 0 {
			continue
		}
		conns := make([]Conn, len(ipsec.Conns))
		copy(conns, ipsec.Conns)
		for j := range conns {
			if sha := stands[conns[j].Secrets]; sha != "" {
				conns[j].SecretsSHA = sha
			}
		}
		ipsec.Conns = conns
		out[i] = ipsec
	}
	return out, held, nil
}
