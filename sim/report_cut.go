package sim

// truncatedOf follows answers that were cut.
func truncatedOf(tries []*try, calls []*judged) Truncated {
	var r Truncated
	alone := map[string][]*try{} // by credential
	for _, c := range calls {
		for i, t := range c.tries {
			isLast := i+1 == len(c.tries)
			leftEarly := t.fate == fateLeft && t.Status != 0 && isLast && c.told() == ToldOK
			if t.fate != fateCut && !leftEarly {
				continue
			}
			r.Total++
			switch {
			case !isLast && c.tries[i+1].Continues:
				r.Continued++
			case !isLast || c.fate() == fateServed:
				r.Retried++
			case c.told() == ToldOK:
				r.Accepted++
			case c.told() == ToldFailed:
				r.Reported++
			default:
				alone[t.KeyTag] = append(alone[t.KeyTag], t)
				r.LeftAlone++
			}
		}
	}
	r.convict(tries, alone)
	return r
}

// convict moves answers from those left alone to those accepted, where later
// requests of the same credential prove it. One that is proved but was not
// seen is counted too, once for each credential.
func (r *Truncated) convict(tries []*try, alone map[string][]*try) {
	proofs := map[string]int{} // calls, by credential
	newest := map[string]*try{}
	seen := map[*judged]bool{}
	for _, t := range tries {
		if !t.CutHistory {
			continue
		}
		newest[t.KeyTag] = t
		if !seen[t.call] {
			seen[t.call] = true
			proofs[t.KeyTag]++
		}
	}
	for key, n := range proofs {
		before := 0
		for _, t := range alone[key] {
			if !t.over.After(newest[key].At) {
				before++
			}
		}
		proved := min(n, before)
		r.Accepted += proved
		r.LeftAlone -= proved
		if proved == 0 {
			r.Accepted++
			r.Total++
		}
	}
}

// costsOf adds up what the attempts cost.
func costsOf(calls []*judged) Tokens {
	var sum Tokens
	for _, c := range calls {
		used := c.used()
		for i, t := range c.tries {
			if t.fate == fateOpen {
				continue
			}
			input := t.InputTokens + t.CacheReadTokens + t.CacheWriteTokens
			sum.Input += input
			sum.Output += t.OutputTokens
			if !used[i] {
				sum.WastedInput += input
				sum.WastedOutput += t.OutputTokens
			}
		}
	}
	return sum
}

// used tells of each attempt whether its answer is part of what the call got:
// the last that was served, and those it continues.
func (c *judged) used() []bool {
	used := make([]bool, len(c.tries))
	i := len(c.tries) - 1
	for i >= 0 && c.tries[i].fate != fateServed {
		i--
	}
	for ; i >= 0; i-- {
		used[i] = true
		if !c.tries[i].Continues {
			break
		}
	}
	return used
}
