package demo

import (
	"os"

	"golang.org/x/term"
)

// OpenTerminal returns a Terminal on f, or nil if f is none or cannot redraw.
// It has no colours where NO_COLOR is set (no-color.org).
func OpenTerminal(f *os.File) *Terminal {
	if kind := os.Getenv("TERM"); kind == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &Terminal{Out: f, Color: os.Getenv("NO_COLOR") == "", Size: func() (int, int) { return size(f) }}
}

// Width returns the columns of the terminal f, or those of a table that shows
// everything if f is none.
func Width(f *os.File) int {
	columns, _ := size(f)
	return columns
}

// size returns what the terminal says, or a size that shows everything if it
// does not know; a window being resized may say 0.
func size(f *os.File) (columns, rows int) {
	columns, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || columns <= 0 || rows <= 0 {
		return 100, 40
	}
	return columns, rows
}
