package refit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

// ReadTable reads a table from its file.
func ReadTable(name string) (*fit.Table, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return fit.Parse(data)
}

// CheckFree returns fs.ErrExist if there is a file of that name, and what else
// would keep a table from being written: better before an hour of probes than
// after it.
func CheckFree(name string, force bool) error {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkFolder(filepath.Dir(name))
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", name)
	case !force:
		return fs.ErrExist
	}
	return checkFolder(filepath.Dir(name))
}

func checkFolder(name string) error {
	f, err := os.CreateTemp(name, ".evenkeel-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// WriteTable writes a table whole or not at all: into a file beside it that then
// takes its name. Only with force it takes that of another.
func WriteTable(name string, table *fit.Table, force bool) error {
	if err := CheckFree(name, force); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".evenkeel-*")
	if err != nil {
		return err
	}
	_, err = f.Write(table[:])
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
