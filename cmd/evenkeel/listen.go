package main

import (
	"errors"
	"net"
	"net/url"
	"syscall"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// wsaAddrInUse is what Windows says instead of EADDRINUSE.
const wsaAddrInUse = syscall.Errno(10048)

// listen opens addr for the flag of that name.
func listen(flag, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return l, nil
	}
	var e *ekerr.Error
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaAddrInUse) {
		e = ekerr.New(ekerr.ListenTaken, "%s is taken by another process", addr).
			Because("perhaps another evenkeel; evenkeel healthcheck tells").
			Hint("--%s 127.0.0.1:0 takes a free port", flag)
	} else {
		e = ekerr.Wrap(ekerr.Listen, rootCause(err), "cannot listen on %s", addr).
			Hint("--%s 127.0.0.1:0 takes a free port of this machine", flag)
	}
	e.At, e.Err = "--"+flag, err
	return nil, e
}

// rootCause is the innermost error, without the operation and the address that
// the text around it names already.
func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// urlOf returns how this machine reaches a listener.
func urlOf(l net.Listener) string {
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "http://" + l.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return (&url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}).String()
}

// refuseLoop makes sure that no call to upstream comes back to one of the
// listeners, which a port chosen by the system can only tell now.
func refuseLoop(upstream string, listeners ...net.Listener) error {
	u, err := config.ParseUpstream(upstream)
	if err != nil {
		return ekerr.New(ekerr.ConfigValue, "upstream.url %v", err)
	}
	for _, l := range listeners {
		if addr := l.Addr().String(); config.PointsAt(u, addr) {
			return config.LoopError(u, addr)
		}
	}
	return nil
}
