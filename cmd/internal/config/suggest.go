package config

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// nearest returns the candidate that word was probably meant to be, or "".
// Two letters may be wrong, which is what two swapped ones count as, or a third
// of a longer word; more is another word.
func nearest(word string, candidates []string) string {
	best, distance := "", max(2, min(len(word), 40)/3)+1
	slices.Sort(candidates)
	for _, c := range candidates {
		if len(word) < 4 || len(c) < 3 {
			continue // two letters of a short word make any other
		}
		if d := levenshtein.ComputeDistance(strings.ToLower(clip(word)), strings.ToLower(c)); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// Suggest returns the candidate that word was probably meant to be, or "".
func Suggest(word string, candidates []string) string { return nearest(word, slices.Clone(candidates)) }

// homes returns the paths of keys with this name elsewhere in the file.
func homes(key string) []string {
	cfg := Default()
	var paths []string
	for _, l := range leaves(&cfg) {
		if _, last, ok := cutLast(l.path); ok && last == key {
			paths = append(paths, l.path)
		}
	}
	return paths
}

func cutLast(path string) (parent, key string, ok bool) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}
