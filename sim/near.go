package sim

// nearest returns the known word that word was probably meant to be, or "": the
// first of those with the fewest edits, if they are few for its length.
func nearest(word string, known []string) string {
	best, least := "", 1+min(3, (len(word)+2)/3)
	if len(word) > 40 {
		return "" // no slip of a finger
	}
	for _, candidate := range known {
		if d := edits(word, candidate); d < least && d < min(len(word), len(candidate)) {
			best, least = candidate, d
		}
	}
	return best
}

// edits returns how many bytes must be put in, taken out, changed, or swapped
// with their neighbour to make b of a (optimal string alignment).
func edits(a, b string) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := above[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
