package call

// lineup is the groups whose calls wait in a lane, in the order in which they
// are asked when something of the lane becomes free: the one that was served
// longest ago first. Always beginning with the same one would leave nothing for
// the others.
type lineup struct {
	groups map[string]waiters
	order  []string // may name groups that have gone
	live   int      // groups
	calls  int
}

type waiters struct {
	calls  int
	listed bool // in order
}

func (u *lineup) enter(group string) {
	w := u.groups[group]
	if w.calls++; w.calls == 1 {
		u.live++
	}
	u.calls++
	if !w.listed {
		w.listed = true
		u.order = append(u.order, group)
	}
	u.groups[group] = w
	if len(u.order) > 2*u.live+64 {
		u.compact()
	}
}

// exit leaves the group its place, since it mostly comes back at once.
func (u *lineup) exit(group string) {
	w := u.groups[group]
	if w.calls--; w.calls == 0 {
		u.live--
	}
	u.calls--
	u.groups[group] = w
}

func (u *lineup) compact() {
	kept := u.order[:0]
	for _, g := range u.order {
		if u.groups[g].calls > 0 {
			kept = append(kept, g)
		} else {
			delete(u.groups, g)
		}
	}
	u.order = kept
}

// ask goes over the groups, once each. Who was served, or wanted nothing, goes
// to the end of the line; so nobody is passed over who was not asked.
func (u *lineup) ask(f func(group string) (served, stop bool)) {
	for n := len(u.order); n > 0; n-- {
		group := u.order[0]
		if u.groups[group].calls == 0 && n > 1 {
			u.rotate()
			continue
		}
		served, stop := f(group)
		if served || !stop {
			u.rotate()
		}
		if stop {
			return
		}
	}
}

func (u *lineup) rotate() {
	first := u.order[0]
	copy(u.order, u.order[1:])
	u.order[len(u.order)-1] = first
}
