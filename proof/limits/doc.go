// Package limits proves, with the whole path against the simulated API, that
// limits are used and not hit, that overload is ridden out, and that nobody is
// starved. Its clock is virtual, so that minutes pass in a second; the tests
// named Real do the same with processes and time that are.
package limits
