package fleet

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestMain ends with the list of servers that the tests have run on.
func TestMain(m *testing.M) {
	code := m.Run()
	if names := slices.Sorted(maps.Keys(places)); len(names) > 0 {
		fmt.Println("servers:", strings.Join(names, ", "))
	}
	os.Exit(code)
}
