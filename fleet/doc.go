// Package fleet keeps limits, pauses, breaker and retry budget in one Redis or
// Valkey, for however many processes.
package fleet
