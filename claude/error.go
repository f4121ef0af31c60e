package claude

import "net/http"

// ErrorType is error.type of an error answer or error event.
// New values may appear; treat an unknown one by its HTTP status.
type ErrorType string

// The documented types (“Claude API errors”, platform.claude.com, 2026-09-26;
// conflict_error: SDK internal/apierror).
const (
	InvalidRequest  ErrorType = "invalid_request_error" // 400
	Authentication  ErrorType = "authentication_error"  // 401
	Billing         ErrorType = "billing_error"         // 402
	Permission      ErrorType = "permission_error"      // 403
	NotFound        ErrorType = "not_found_error"       // 404
	Conflict        ErrorType = "conflict_error"        // 409
	RequestTooLarge ErrorType = "request_too_large"     // 413
	RateLimit       ErrorType = "rate_limit_error"      // 429
	API             ErrorType = "api_error"             // 500
	Timeout         ErrorType = "timeout_error"         // 504
	Overloaded      ErrorType = "overloaded_error"      // 529
)

// StatusOverloaded is the status of overloaded_error, for which net/http has no
// name: too much load across all users, counted per model.
const StatusOverloaded = 529

// Status is the status that an error of this type is answered with where no
// stream has begun; 500 for a type nobody has seen yet.
func (t ErrorType) Status() int {
	switch t {
	case InvalidRequest:
		return http.StatusBadRequest
	case Authentication:
		return http.StatusUnauthorized
	case Billing:
		return http.StatusPaymentRequired
	case Permission:
		return http.StatusForbidden
	case NotFound:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case RequestTooLarge:
		return http.StatusRequestEntityTooLarge
	case RateLimit:
		return http.StatusTooManyRequests
	case Timeout:
		return http.StatusGatewayTimeout
	case Overloaded:
		return StatusOverloaded
	}
	return http.StatusInternalServerError
}

// ErrorCode is error.details.error_code: the machine-readable cause that the
// API sends since 2026-11-04. An unknown code means no more than the bare type.
type ErrorCode string

// Codes that change what is done about an error (SDK shared/shared.go).
const (
	RampLimitExceeded      ErrorCode = "ramp_limit_exceeded"                     // 429: grow more slowly
	EnforcedSpendLimit     ErrorCode = "enforced_spend_limit_reached"            // 429: until the month ends
	ContractSpendLimit     ErrorCode = "contract_spend_limit_reached"            // 429: final
	LinkedSpendLimit       ErrorCode = "linked_organization_spend_limit_reached" // 402: final
	LinkedBilling          ErrorCode = "linked_organization_billing_unavailable" // 402: final
	ScanPending            ErrorCode = "scan_pending"                            // 409: transient
	MembershipChange       ErrorCode = "concurrent_membership_change"            // 409: transient
	ExternalKeyChanged     ErrorCode = "external_key_changed"                    // 409: transient
	KeyValidationTimeout   ErrorCode = "external_key_validation_timed_out"
	RequestBodyTimeout     ErrorCode = "request_body_timeout"
	ThreadContinueInFlight ErrorCode = "thread_continue_in_flight"
)

// Error is the part of an error envelope that decisions are made on.
type Error struct {
	Type      ErrorType
	Code      ErrorCode
	Message   string // human text, may quote the prompt: never logged, matched only where no code exists
	RequestID string // top-level request_id; may be empty although the header is set
}
