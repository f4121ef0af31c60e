package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

func healthcheckCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running gateway whether it takes calls; exit code 0 or 1",
		Long: `Asks /readyz on the admin port. Made for HEALTHCHECK in images that have no
shell. A gateway in front of an overloaded API is ready; one that drains is not.

Only the address is taken from the configuration: a file that has become
invalid does not make a running gateway unhealthy.`,
		Example: "  evenkeel healthcheck\n  evenkeel healthcheck --admin 127.0.0.1:4291 --timeout 1s",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			resolved, _ := load(cmd) // see Long
			answer, err := readyz(cmd.Context(), resolved.Admin, timeout)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), answer)
			return err
		},
	}
	configFlag(cmd.Flags(), "admin", "admin", "admin address of the gateway")
	cmd.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long to wait for the answer")
	return cmd
}

// readyz asks the gateway at addr and returns what it says if it is ready.
func readyz(ctx context.Context, addr string, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(addr)+"/readyz", nil)
	if err != nil {
		return "", ekerr.Wrap(ekerr.Unready, err, "%s is no address", addr).Hint("such as --admin 127.0.0.1:4291")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	resp, err := client.Do(req)
	if err != nil {
		return "", ekerr.Wrap(ekerr.Unready, rootCause(err), "no answer from the gateway at %s", addr).
			Hint("is it running? evenkeel serve starts one").Hint("--admin names another address")
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // the status is the answer
	said := strings.TrimSpace(string(text))
	if resp.StatusCode != http.StatusOK {
		return "", ekerr.New(ekerr.Unready, "the gateway at %s is not ready: %d %s", addr, resp.StatusCode, said).
			Hint("its log says why")
	}
	return said, nil
}

// reachable turns an address to listen on into one to connect to.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}
