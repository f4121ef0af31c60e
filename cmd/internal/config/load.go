package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// EnvPrefix begins the environment variable of every key: retry.max_attempts
// is EVENKEEL_RETRY_MAX_ATTEMPTS.
const EnvPrefix = "EVENKEEL_"

// EnvFile is the variable that names the file where --config does not.
const EnvFile = EnvPrefix + "CONFIG"

// EnvSim is the variable that names the simulated API where --sim does not. It
// is no key.
const EnvSim = EnvPrefix + "SIM"

// maxFile bounds a configuration file. A thousand clients take 100 kB.
const maxFile = 1 << 20

// Sources is where values come from, weakest first.
type Sources struct {
	File  string   // path; "" for none
	Env   []string // as os.Environ has it; later entries win
	Flags []Flag

	// NoListen is for commands that do not open listen and admin: what is
	// wrong only where a gateway listens is not told.
	NoListen bool
}

// Flag is a flag that was given on the command line.
type Flag struct {
	Name  string // listen
	Path  string // of the key it sets
	Value string
}

// Origin says where a value was set: a place in a file, a variable, a flag, or
// "default".
type Origin string

// DefaultOrigin is the Origin of values that nothing has set.
const DefaultOrigin Origin = "default"

// Resolved is a configuration and where it comes from.
type Resolved struct {
	Config
	File  string
	Notes []Note // what is worth knowing and no reason to stop

	// Unused are the keys that were set to their defaults and have no effect
	// in this version, whatever they are set to.
	Unused []string

	origins map[string]Origin
	unread  map[Origin]bool // where values are that could not be read
}

// Note is something that the configuration says and that will not be as its
// author may expect.
type Note struct {
	At   string `json:"at"`
	Text string `json:"text"`
}

// Origin returns where the value at path was set.
func (r *Resolved) Origin(path string) Origin {
	if o, ok := r.origins[path]; ok {
		return o
	}
	return DefaultOrigin
}

// Load resolves the configuration. The error is an [ekerr.List] of everything
// that is wrong, in all sources. What could be read is returned even then, with
// defaults in place of what could not: a health check wants to know the port,
// and nothing else.
func Load(src Sources) (*Resolved, error) {
	var data []byte
	if src.File != "" {
		var err error
		if data, err = readFile(src.File); err != nil {
			r, _ := resolve(Sources{Env: src.Env, Flags: src.Flags}, nil)
			return r, ekerr.List{fileError(src.File, err)}
		}
	}
	return resolve(src, data)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %v", Size(maxFile))
	}
	return data, err
}

func fileError(name string, err error) *ekerr.Error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		err = pe.Err
	}
	return ekerr.Wrap(ekerr.ConfigFile, err, "cannot read %s", name).Hint("check --config and %s", EnvFile)
}

// resolve is Load once the file has been read.
func resolve(src Sources, data []byte) (*Resolved, error) {
	r := &Resolved{Config: Default(), File: src.File, origins: map[string]Origin{}}
	env := environment(src.Env)
	d := &decoder{origins: r.origins, lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	d.readFile(&r.Config, src.File, data)
	r.Notes = d.readEnv(&r.Config, env)
	d.readFlags(&r.Config, src.Flags)
	r.unread = map[Origin]bool{}
	for _, e := range d.errs {
		r.unread[Origin(e.At)] = true
	}
	d.errs = append(d.errs, r.check(!src.NoListen)...)
	if len(d.errs) > 0 {
		return r, d.errs
	}
	r.idle()
	r.Notes = append(r.Notes, r.risky(!src.NoListen)...)
	return r, nil
}

func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	return env
}

func (d *decoder) readFile(cfg *Config, name string, data []byte) {
	if len(data) == 0 {
		return
	}
	d.at = func(n *yaml.Node) string { return fmt.Sprintf("%s:%d:%d", filepath.Clean(name), n.Line, n.Column) }
	root, err := parse(data)
	if err != nil {
		d.syntax(filepath.Clean(name), err)
		return
	}
	if root != nil {
		d.value(reflect.ValueOf(cfg).Elem(), root, "", rules{})
	}
}

// readEnv reads the variables of every key, and notes those that look like
// ours and are not.
func (d *decoder) readEnv(cfg *Config, env map[string]string) []Note {
	known := map[string]bool{EnvFile: true, EnvSim: true}
	d.lookup = nil // a variable's value is meant as it is
	for _, l := range leaves(cfg) {
		name := EnvName(l.path)
		known[name] = true
		// Empty is unset: compose files pass on variables that nobody has set.
		if text := env[name]; text != "" {
			d.at = func(*yaml.Node) string { return name }
			d.text(l, text)
		}
	}
	words := slices.Collect(maps.Keys(known)) // all begin alike, which makes none of them nearer
	for i := range words {
		words[i] = strings.TrimPrefix(words[i], EnvPrefix)
	}
	var notes []Note
	for name := range env {
		if strings.HasPrefix(name, EnvPrefix) && !known[name] && !serviceLink(name) {
			text := "is no variable of ours and has no effect"
			if near := nearest(strings.TrimPrefix(name, EnvPrefix), words); near != "" {
				text += "; did you mean " + EnvPrefix + near + "?"
			}
			notes = append(notes, Note{At: name, Text: text})
		}
	}
	slices.SortFunc(notes, func(a, b Note) int { return strings.Compare(a.At, b.At) })
	return notes
}

func (d *decoder) readFlags(cfg *Config, flags []Flag) {
	all := leaves(cfg)
	for _, f := range flags {
		i := slices.IndexFunc(all, func(l leaf) bool { return l.path == f.Path })
		d.at = func(*yaml.Node) string { return "--" + f.Name }
		d.text(all[i], f.Value)
	}
}

// EnvName returns the environment variable of the key at path.
func EnvName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// DefaultText returns the default of the key at path as a file spells it.
func DefaultText(path string) string {
	cfg := Default()
	for _, l := range leaves(&cfg) {
		if l.path == path {
			return fmt.Sprint(tree(l.value))
		}
	}
	panic("config: no key " + path)
}

// serviceLink tells variables that Kubernetes sets in every container when a
// service is named evenkeel: EVENKEEL_PORT=tcp://…, EVENKEEL_SERVICE_HOST, ….
func serviceLink(name string) bool {
	rest := strings.TrimPrefix(name, EnvPrefix)
	return rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.HasPrefix(rest, "SERVICE_")
}
