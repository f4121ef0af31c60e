package fleet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// Cause says why the store does not serve. docs/fleet.md says what to do.
type Cause string

// The causes.
const (
	CauseNone        Cause = ""
	CauseTimeout     Cause = "timeout"     // no answer in time: frozen, slow, paused, or the network
	CauseUnreachable Cause = "unreachable" // no connection
	CauseTLS         Cause = "tls"         // a certificate that is not trusted, or no TLS there
	CauseAuth        Cause = "auth"        // user, password or ACL rules
	CauseReadOnly    Cause = "read-only"   // a replica, or a master that was demoted
	CauseType        Cause = "wrong-type"  // somebody else's key has one of our names
	CauseFull        Cause = "full"        // out of memory, and nothing may be evicted
	CauseLoading     Cause = "loading"     // it has just started
	CauseCluster     Cause = "cluster"     // slots are moving, or not all are served
	CauseBusy        Cause = "busy"        // somebody's script runs on
	CauseOther       Cause = "other"
)

var causes = []struct {
	prefix string
	cause  Cause
}{
	{"NOAUTH", CauseAuth},
	{"WRONGPASS", CauseAuth},
	{"NOPERM", CauseAuth},
	{"ERR AUTH", CauseAuth},
	{"ERR The user executing the script can't run this command", CauseAuth}, // which one is in ACL LOG
	{"ERR Protocol error: unauthenticated", CauseAuth},                      // Redis bounds what it reads before AUTH
	{"ERR invalid password", CauseAuth},
	{"ERR Client sent AUTH", CauseAuth},
	{"READONLY", CauseReadOnly},
	{"NOREPLICAS", CauseReadOnly},
	{"MASTERDOWN", CauseReadOnly},
	{"MISCONF", CauseReadOnly},
	{"WRONGTYPE", CauseType},
	{"OOM", CauseFull},
	{"LOADING", CauseLoading},
	{"CLUSTERDOWN", CauseCluster},
	{"MOVED", CauseCluster},
	{"ASK", CauseCluster},
	{"TRYAGAIN", CauseCluster},
	{"CROSSSLOT", CauseCluster},
	{"BUSY", CauseBusy},
	{"UNKILLABLE", CauseBusy},
}

// causeOf sorts an error of the store. What a script raises is told with the
// error's own first word, or after it.
func causeOf(err error) Cause {
	if err == nil {
		return CauseNone
	}
	if _, ok := errors.AsType[redis.Error](err); ok {
		text := err.Error()
		for _, c := range causes {
			if strings.HasPrefix(text, c.prefix) || strings.Contains(text, ": -"+c.prefix) || strings.Contains(text, ": "+c.prefix) {
				return c.cause
			}
		}
		if strings.Contains(text, "can't write against a read only replica") {
			return CauseReadOnly
		}
		return CauseOther
	}
	if nerr, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, redis.ErrPoolTimeout) || ok && nerr.Timeout() {
		return CauseTimeout
	}
	if text := err.Error(); strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ") {
		return CauseTLS
	}
	if _, ok := errors.AsType[*net.OpError](err); ok || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNREFUSED) ||
		strings.Contains(err.Error(), "dial") || strings.Contains(err.Error(), "sentinel") || strings.Contains(err.Error(), "connection") {
		return CauseUnreachable
	}
	return CauseOther
}

// ofKeys reports whether a cause concerns the keys of one owner, and says
// nothing about the server.
func (c Cause) ofKeys() bool { return c == CauseType }
