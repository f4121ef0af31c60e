// Package retry says whether a call may be tried again: whether the budget
// can pay for it ([Budget]) and whether it would still be in time ([Fits]).
//
// It is not about which failures are worth a retry (package classify) or how
// long to wait (package backoff). Both questions here are asked before the
// wait: backing off lowers nobody's load in the long run, only fewer retries
// do (Brooker, “What is backoff for?”, 2022), and a caller who will be refused
// should hear so now and not after the wait.
package retry

import "time"

// Fits says whether a call that may go on at until is still of use then. A
// call that would wake at its deadline or after it should end now, with the
// answer it has. The zero deadline is none: everything fits.
func Fits(now, until, deadline time.Time) bool {
	if deadline.IsZero() {
		return true
	}
	return now.Before(deadline) && until.Before(deadline)
}

// Deadline is when our answer has to be on its way to a caller that arrived
// with a timeout: one second before the timeout ends, so that the caller sees
// the answer and not its own timeout, but at most 5 % of it, so that a short
// timeout is not eaten up. Both numbers are guesses at what a network and a
// busy caller need. A timeout of 0 or less is none, as is the zero Time.
func Deadline(arrived time.Time, timeout time.Duration) time.Time {
	if timeout <= 0 {
		return time.Time{}
	}
	return arrived.Add(timeout - min(time.Second, timeout/20))
}
