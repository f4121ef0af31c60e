package evenkeel

import (
	"net"
	"net/http"
	"time"
)

// newBase returns the transport that makes attempts when Config.Base is nil.
func newBase(connect time.Duration) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   connect,
		Protocols:             protocols,
		MaxIdleConns:          0, // bounded per host: there is one upstream
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		// An answer is passed on as it came, and a compressed stream would
		// be held back by the decompressor until a block is full.
		DisableCompression: true,
		// A connection can die without a word. Without pings every stream
		// on it would wait out its idle limit.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}
