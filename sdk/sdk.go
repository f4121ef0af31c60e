// Package sdk joins evenkeel to the official Go SDK of the Claude API, v2:
//
//	opts, err := sdk.New(evenkeel.Config{})
//	…
//	client := anthropic.NewClient(opts...)
//
// It is a module of its own so that programs which use evenkeel with a plain
// http.Client do not compile, or pin, the SDK.
//
// # Whose retries, whose clocks
//
// The SDK's own retries are off. Left on, each of its three attempts would be
// a call of ours, and one overloaded upstream would be asked eighteen times
// for one answer. Do not add option.WithMaxRetries after these options.
// Middleware, which the SDK runs once per attempt of its own, therefore runs
// once per call.
//
// The SDK's timeout stays as it is, because either change is worse. A plain
// (not streaming) Messages call has 10 minutes from the SDK, sent along as
// x-stainless-timeout; the Transport reads it as the caller's deadline and
// never sleeps past it, so waits are planned within the 10 minutes and the
// last answer of the upstream comes back before them. With the SDK's retries
// off they are the time of the whole call: the same as Timeouts.Total. A
// streaming call has no timeout from the SDK, and the Transport's own clocks
// bound it: Total until its first content, Idle from then on.
//
// option.WithRequestTimeout changes that, per client or per call. On a client
// it is seldom what is wanted: it cuts streams that flow, and it switches off
// the SDK's refusal of plain calls that would take longer than 10 minutes. On
// a single plain call it does what it says, waits included. The deadline of a
// context is obeyed in the same way.
//
// # Errors
//
// An answer of the API that was final, or the last one before the Transport
// gave up, is an *anthropic.Error as ever. A call that ended without any answer
// is a [*evenkeel.Error] inside what the SDK returns: errors.AsType finds it.
package sdk

import (
	"github.com/anthropics/anthropic-sdk-go/v2/option"

	"github.com/evenkeel-dev/evenkeel"
)

// Options returns the request options that send an SDK client's calls through
// t: its HTTP client, without the SDK's retries. They fit anthropic.NewClient
// as well as a single call. The caller keeps t, to reconfigure or observe it.
//
// Several clients may share one t, and should if they share a quota.
// Options panics if t is nil, which would silently mean no evenkeel at all.
func Options(t *evenkeel.Transport) []option.RequestOption {
	if t == nil {
		panic("sdk: Options of a nil *evenkeel.Transport")
	}
	return []option.RequestOption{
		option.WithHTTPClient(t.Client()),
		option.WithMaxRetries(0),
	}
}

// New is [Options] over a new Transport that behaves as cfg says and lives as
// long as the program; one that must end or change before that is made with
// [evenkeel.New]. The error names every field of cfg that is at fault.
func New(cfg evenkeel.Config) ([]option.RequestOption, error) {
	t, err := evenkeel.New(cfg)
	if err != nil {
		return nil, err
	}
	return Options(t), nil
}
